"""Programs are refused whole, before any effect, with the code that says why: a worker never runs half a wrong one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octavo_kernels import Backend, KernelError
from octavo_kernels.generated.ops import OPS, SIZES
from octavo_kernels.program.shapes import carry_words
from octavo_kernels.program.spec import Arena, Columns, Handle, Input, Operation, ProgramSpec, Value
from octavo_kernels.tensor import Tensor, allocate
from octavo_kernels.validate.program import validate

LIMITS = {**dict.fromkeys(SIZES, 0), "T": 8, "S": 4}
ARENA = 1 << 16

WEIGHT, CODES, SCALE, BIAS, TABLE = range(100, 105)


def _tensors() -> dict[int, Tensor]:
    return {
        WEIGHT: allocate("float16", "plain", (40,)),
        CODES: allocate("int8", "packed", (24, 40)),
        SCALE: allocate("float32", "plain", (24,)),
        BIAS: allocate("float32", "plain", (24,)),
        TABLE: allocate("float16", "packed", (50, 40)),
    }


def _value(dtype: str, *shape: int | str, place: Any, layout: str = "plain") -> Value:
    return Value(dtype, layout, shape, place)


def _program() -> ProgramSpec:
    """Embed, norm, quantize, an int8 linear, half of its columns twice as large, some rows of it."""
    values = (
        _value("int32", "T", place=Input()),  # 0 tokens
        _value("float16", 50, 40, place=Handle(TABLE), layout="packed"),
        _value("float32", "T", 40, place=Arena(0)),  # 2 embedded
        _value("float16", 40, place=Handle(WEIGHT)),
        _value("float32", "T", 40, place=Arena(2048)),  # 4 normed
        _value("int8", "T", 64, place=Arena(4096)),  # 5 low
        _value("int8", "T", 64, place=Arena(5120)),
        _value("int32", "T", carry_words(40), place=Arena(6144)),
        _value("float32", "T", place=Arena(11264)),
        _value("int8", 24, 40, place=Handle(CODES), layout="packed"),  # 9
        _value("float32", 24, place=Handle(SCALE)),
        _value("float32", 24, place=Handle(BIAS)),
        _value("float32", "T", 24, place=Arena(8192)),  # 12 product
        _value("float32", "T", 12, place=Columns(12, 12)),
        _value("float32", "T", 12, place=Arena(9216)),  # 14 sum
        _value("int32", "S", place=Input()),  # 15 index
        _value("float32", "S", 12, place=Arena(10240)),
    )
    digits = {"low": 5, "high": 6, "carries": 7, "step": 8}
    ops = (
        Operation("embed", {"tokens": 0, "table": 1}, {"y": 2}),
        Operation("norm", {"x": 2, "weight": 3}, {"y": 4}, {"kind": "rms"}),
        Operation("quantize", {"x": 4}, digits, {"decompose": "threshold", "absolute": 5}),
        Operation("linear_int8", {**digits, "weight": 9, "scale": 10, "bias": 11}, {"y": 12}),
        Operation("add", {"a": 13, "b": 13}, {"y": 14}),
        Operation("rows", {"x": 14, "index": 15}, {"y": 16}),
    )
    return ProgramSpec(values, ops, (0, 15), (16,), LIMITS)


def _with_value(spec: ProgramSpec, index: int, **changes: Any) -> ProgramSpec:
    values = list(spec.values)
    values[index] = replace(values[index], **changes)
    return replace(spec, values=tuple(values))


def _with_op(spec: ProgramSpec, index: int, **changes: Any) -> ProgramSpec:
    ops = list(spec.ops)
    ops[index] = replace(ops[index], **changes)
    return replace(spec, ops=tuple(ops))


def _attributes(spec: ProgramSpec, index: int, **attributes: Any) -> ProgramSpec:
    return _with_op(spec, index, attributes={**spec.ops[index].attributes, **attributes})


def _inputs(spec: ProgramSpec, index: int, **inputs: Any) -> ProgramSpec:
    return _with_op(spec, index, inputs={**spec.ops[index].inputs, **inputs})


def _without_input(spec: ProgramSpec, index: int, name: str) -> ProgramSpec:
    return _with_op(spec, index, inputs={key: v for key, v in spec.ops[index].inputs.items() if key != name})


DTYPE, SHAPE, BAD = "OCTAVO_DTYPE_MISMATCH", "OCTAVO_SHAPE_MISMATCH", "OCTAVO_BAD_ARGUMENT"

WRONG = {
    "an op that is none": (lambda p: _with_op(p, 1, op="norms"), "OCTAVO_UNKNOWN_OP"),
    "an op with an attribute's name": (lambda p: _with_op(p, 1, op="__class__"), "OCTAVO_UNKNOWN_OP"),
    "an attribute that is none": (lambda p: _attributes(p, 1, epsilon=1e-5), BAD),
    "an enum value that is none": (lambda p: _attributes(p, 1, kind="batch"), BAD),
    "a number for an enum": (lambda p: _attributes(p, 1, kind=0), BAD),
    "a list for an enum": (lambda p: _attributes(p, 1, kind=["rms"]), BAD),
    "a number below its range": (lambda p: _attributes(p, 1, eps=-1e-5), BAD),
    "a number that is none": (lambda p: _attributes(p, 1, eps=float("nan")), BAD),
    "an infinite number": (lambda p: _attributes(p, 1, eps=float("inf")), BAD),
    "a text for a number": (lambda p: _attributes(p, 1, eps="1e-5"), BAD),
    "a number beyond float32": (lambda p: _attributes(p, 0, scale=1e300), BAD),
    "a boolean for a number": (lambda p: _attributes(p, 1, eps=True), BAD),
    "a number for a boolean": (lambda p: _attributes(p, 1, unitOffset=1), BAD),
    "a missing operand": (lambda p: _without_input(p, 1, "weight"), BAD),
    "a missing result": (lambda p: _with_op(p, 1, outputs={}), BAD),
    "an operand that is none": (lambda p: _inputs(p, 1, gain=3), BAD),
    "a value beyond the last": (lambda p: _inputs(p, 1, x=17), BAD),
    "a negative value": (lambda p: _inputs(p, 1, x=-1), BAD),
    "an operand of the wrong dtype": (lambda p: _inputs(p, 1, x=0), DTYPE),
    "an operand of the wrong rank": (lambda p: _inputs(p, 1, x=8), SHAPE),
    "operands that disagree": (lambda p: _inputs(p, 4, b=2), SHAPE),
    "digits not padded to 64": (lambda p: _with_value(p, 5, shape=("T", 40)), SHAPE),
    "digits of another width that pads alike": (lambda p: _with_value(p, 7, shape=("T", carry_words(39))), SHAPE),
    "rows of another size of the step": (lambda p: _with_value(p, 4, shape=("S", 40)), SHAPE),
    "rows of a fixed size": (lambda p: _with_value(p, 4, shape=(8, 40)), SHAPE),
    "a packed operand where plain is wanted": (lambda p: _with_value(p, 4, layout="packed"), DTYPE),
    "a handle of nobody": (lambda p: _with_value(p, 3, place=Handle(99)), "OCTAVO_DISPOSED"),
    "a handle of another dtype": (lambda p: _with_value(p, 3, dtype="bfloat16"), DTYPE),
    "a handle of another layout": (lambda p: _with_value(p, 9, layout="plain"), DTYPE),
    "a handle of another shape": (lambda p: _with_value(p, 3, shape=(41,)), SHAPE),
    "an unknown dtype": (lambda p: _with_value(p, 2, dtype="float64"), DTYPE),
    "an unknown layout": (lambda p: _with_value(p, 2, layout="tiled"), DTYPE),
    "an unknown size": (lambda p: _with_value(p, 2, shape=("Z", 40)), SHAPE),
    "one more than a size that has no such": (lambda p: _with_value(p, 2, shape=("T+1", 40)), SHAPE),
    "a negative size": (lambda p: _with_value(p, 2, shape=("T", -40)), SHAPE),
    "an arena offset that is not aligned": (lambda p: _with_value(p, 2, place=Arena(4)), BAD),
    "a negative arena offset": (lambda p: _with_value(p, 2, place=Arena(-64)), BAD),
    "an arena offset whose end is outside": (lambda p: _with_value(p, 2, place=Arena(ARENA - 64)), BAD),
    "columns of a later value": (lambda p: _with_value(p, 13, place=Columns(14, 0)), BAD),
    "columns of itself": (lambda p: _with_value(p, 13, place=Columns(13, 0)), BAD),
    "columns of nothing": (lambda p: _with_value(p, 13, place=Columns(-1, 0)), BAD),
    "columns beyond the last": (lambda p: _with_value(p, 13, place=Columns(12, 13)), SHAPE),
    "columns before the first": (lambda p: _with_value(p, 13, place=Columns(12, -1)), SHAPE),
    "columns of another dtype": (lambda p: _with_value(p, 13, dtype="int32"), DTYPE),
    "columns of a packed value": (lambda p: _with_value(p, 13, place=Columns(1, 0), dtype="float16"), DTYPE),
    "columns of other rows": (lambda p: _with_value(p, 13, shape=("S", 12)), SHAPE),
    "columns of a vector": (lambda p: _with_value(p, 13, place=Columns(8, 0)), SHAPE),
    "an intermediate that is read before it is written": (lambda p: replace(p, ops=p.ops[1:]), BAD),
    "an intermediate where another is still needed": (lambda p: _with_value(p, 5, place=Arena(2048)), BAD),
    "a result that begins inside another": (lambda p: _with_value(p, 6, place=Arena(4096 + 64)), BAD),
    "an output that a later op destroys": (
        lambda p: replace(_with_value(p, 14, place=Arena(2048)), outputs=(16, 4)),
        BAD,
    ),
    "a result where its operand lies": (lambda p: _with_op(p, 4, outputs={"y": 13}), BAD),
    "an input of the step that is written": (
        lambda p: replace(p, ops=(*p.ops, replace(p.ops[0], outputs={"y": 17}))),
        BAD,
    ),
    "an input that is not brought": (lambda p: replace(p, inputs=(0,)), BAD),
    "an input that is brought twice": (lambda p: replace(p, inputs=(0, 15, 15)), BAD),
    "an input that is a handle": (lambda p: replace(p, inputs=(0, 15, 3)), BAD),
    "an input beyond the last": (lambda p: replace(p, inputs=(0, 15, 17)), BAD),
    "a packed input": (lambda p: _with_value(p, 0, layout="packed"), None),
    "an output beyond the last": (lambda p: replace(p, outputs=(17,)), BAD),
    "a negative output": (lambda p: replace(p, outputs=(-1,)), BAD),
    "a packed output": (lambda p: replace(p, outputs=(1,)), DTYPE),
    "an output that no op writes": (lambda p: replace(p, ops=p.ops[:-1]), BAD),
    "limits without a size": (lambda p: replace(p, limits={"T": 8}), BAD),
    "a negative limit": (lambda p: replace(p, limits={**LIMITS, "T": -1}), BAD),
    "a limit that is a fraction": (lambda p: replace(p, limits={**LIMITS, "T": 1.5}), BAD),
    "a limit that is a boolean": (lambda p: replace(p, limits={**LIMITS, "T": True}), BAD),
    "a limit beyond int32": (lambda p: replace(p, limits={**LIMITS, "Q": 2**53}), BAD),
    "a value beyond all memory": (lambda p: _with_value(p, 15, shape=("S", 1 << 46)), "OCTAVO_OUT_OF_MEMORY"),
    "a value beyond all memory but for a size of none": (
        lambda p: _with_value(replace(p, limits={**LIMITS, "S": 0}), 16, shape=("S", 1 << 46)),
        "OCTAVO_OUT_OF_MEMORY",
    ),
    "a value of five dimensions": (lambda p: _with_value(p, 2, shape=("T", 40, 1, 1, 1)), SHAPE),
    "rows without columns": (lambda p: _with_value(p, 16, shape=("S", 0)), SHAPE),
    "rows of a width that a step brings": (lambda p: _with_value(p, 16, shape=("S", "T")), SHAPE),
    "columns of columns of columns without end": (
        lambda p: replace(
            p, values=(*p.values, *(_value("float32", "T", 24, place=Columns(of, 0)) for of in (12, *range(17, 26))))
        ),
        BAD,
    ),
    "a limit beyond the arena": (lambda p: replace(p, limits={**LIMITS, "T": 1 << 40}), BAD),
}


def test_a_right_program_is_accepted_with_its_attributes_filled_in():
    complete = validate(_program(), _tensors(), ARENA)
    assert complete.ops[2].attributes == {"decompose": "threshold", "absolute": 5.0, "relative": 6.0}
    assert complete.ops[1].attributes == {"kind": "rms", "eps": 0.00001, "unitOffset": False}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_programs_are_refused(name: str):
    change, code = WRONG[name]
    with pytest.raises(KernelError) as refused:
        validate(change(_program()), _tensors(), ARENA)
    assert code in (None, refused.value.code), refused.value
    assert refused.value.message


def test_the_arena_may_be_used_again_when_a_value_is_no_longer_needed():
    validate(_with_value(_program(), 14, place=Arena(2048)), _tensors(), ARENA)


def test_an_index_that_the_step_computes_is_refused():
    """No check before the step could see it, and the kernel would read wherever it points."""
    program = _program()
    made = (
        _value("float32", "S", place=Arena(11264)),
        _value("float32", "S", place=Arena(11328)),
        _value("int32", "S", place=Arena(11392)),
        _value("float32", "S", 12, place=Arena(11456)),
    )
    score = Operation("score", {"logits": 16, "targets": 15}, {"nll": 17, "kl": 18, "top1": 19})
    pick = Operation("rows", {"x": 14, "index": 19}, {"y": 20})
    program = replace(program, values=(*program.values, *made), ops=(*program.ops, score))
    validate(program, _tensors(), ARENA)
    with pytest.raises(KernelError, match=r"index .* cannot be computed by the step, as top1"):
        validate(replace(program, ops=(*program.ops, pick)), _tensors(), ARENA)


def test_an_index_that_the_step_computes_into_a_tensor_is_refused():
    """It was looked at before the step, which then writes something else there."""
    tensors = {**_tensors(), 200: allocate("int32", "plain", (4,))}
    program = _program()
    made = (
        _value("float32", "S", place=Arena(11264)),
        _value("float32", "S", place=Arena(11328)),
        _value("int32", "S", place=Handle(200)),
        _value("float32", "S", 12, place=Arena(11456)),
    )
    score = Operation("score", {"logits": 16, "targets": 15}, {"nll": 17, "kl": 18, "top1": 19})
    pick = Operation("rows", {"x": 14, "index": 19}, {"y": 20})
    program = replace(program, values=(*program.values, *made))
    validate(
        replace(program, ops=(*program.ops, pick, score)), tensors, ARENA
    )  # what the step before left is looked at
    with pytest.raises(KernelError, match=r"index .* cannot be computed by the step, as top1"):
        validate(replace(program, ops=(*program.ops, score, pick)), tensors, ARENA)


def test_columns_that_no_op_wrote_are_refused():
    """They may hold anything: of integers, groups of carries that do not exist."""
    values = (
        _value("float32", "T", 8, place=Input()),
        _value("float32", "T", 16, place=Arena(0)),
        _value("float32", "T", 8, place=Columns(1, 0)),
        _value("float32", "T", 8, place=Columns(1, 8)),
        _value("float32", "T", 16, place=Arena(1024)),
    )
    left, right = (Operation("activate", {"x": 0}, {"y": half}) for half in (2, 3))
    whole = Operation("activate", {"x": 1}, {"y": 4})
    validate(ProgramSpec(values, (left, right, whole), (0,), (4,), LIMITS), {}, ARENA)
    with pytest.raises(KernelError, match=r"columns 0..16 of value 1, of which ops wrote only 0..8"):
        validate(ProgramSpec(values, (left, whole), (0,), (4,), LIMITS), {}, ARENA)


@pytest.mark.parametrize("meets", [0, 1, 250, 498])
def test_a_result_that_meets_one_of_many_intermediates_is_refused(meets: int):
    """Each is compared with its neighbours in the arena alone: all with all would take hours for a large message."""
    count = 500
    places = [64 * (i * 7 % count) for i in range(count)]
    values = (_value("float32", 1, 1, place=Input()), *(_value("float32", 1, 1, place=Arena(at)) for at in places))
    last = _value("float32", 1, 17, place=Arena(places[meets] if meets else 64 * count))
    wide = _value("float32", 1, 17, place=Input())
    ops = [Operation("activate", {"x": 0}, {"y": i + 1}) for i in range(count)]
    ops.append(Operation("activate", {"x": count + 2}, {"y": count + 1}))
    ops += [Operation("add", {"a": i + 1, "b": i + 1}, {"y": count + 3}) for i in range(count)]
    values = (*values, last, wide, _value("float32", 1, 1, place=Arena(64 * (count + 2))))
    spec = ProgramSpec(values, tuple(ops), (0, count + 2), (), LIMITS)
    if not meets:
        validate(spec, {}, ARENA)
        return
    with pytest.raises(KernelError, match=f"value {count + 1} .* overlaps value"):
        validate(spec, {}, ARENA)


@pytest.mark.parametrize("name", ["an op that is none", "an output that no op writes", "a handle of another shape"])
def test_a_refused_program_has_no_effect(name: str, backend: Backend):
    tensors, arena = _tensors(), allocate("int8", "plain", (ARENA,))
    for tensor in (*tensors.values(), arena):
        tensor.memory[:] = 7
    with pytest.raises(KernelError):
        backend.define(WRONG[name][0](_program()), tensors, arena)
    assert all((tensor.memory == 7).all() for tensor in (*tensors.values(), arena))


def test_messages_say_which_op_which_operand_and_both_shapes():
    with pytest.raises(KernelError) as refused:
        validate(_inputs(_program(), 4, b=2), _tensors(), ARENA)
    assert "op 4 (add): b" in refused.value.message
    assert "[T, 40]" in refused.value.message and "[T, 12]" in refused.value.message


_PLACES = st.one_of(
    st.builds(Handle, st.sampled_from([WEIGHT, CODES, SCALE, TABLE, 7])),
    st.builds(Arena, st.sampled_from([0, 64, 1, -64, 1 << 40])),
    st.builds(Input),
    st.builds(Columns, st.integers(-2, 6), st.integers(-2, 6)),
)
_VALUES = st.builds(
    Value,
    st.sampled_from(["float32", "float16", "int8", "int32", "int64", "complex64"]),
    st.sampled_from(["plain", "packed", "round"]),
    st.lists(
        st.one_of(st.integers(-1, 70), st.sampled_from(["T", "S", "S+1", "B+1", "T+1", "", "+1"])), max_size=4
    ).map(tuple),
    _PLACES,
)
_NAMES = st.sampled_from(sorted({name for op in OPS.values() for name in (*op.inputs, *op.outputs)}))
_OPS = st.builds(
    Operation,
    st.sampled_from([*OPS, "", "none"]),
    st.dictionaries(_NAMES, st.integers(-1, 8), max_size=6),
    st.dictionaries(_NAMES, st.integers(-1, 8), max_size=4),
    st.dictionaries(
        st.sampled_from(["kind", "eps", "headDim", "scale", "x"]), st.sampled_from([0, 1.5, True, "rms", 16, "", None])
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(_VALUES, max_size=7).map(tuple),
    st.lists(_OPS, max_size=4).map(tuple),
    st.lists(st.integers(-1, 8), max_size=3).map(tuple),
    st.lists(st.integers(-1, 8), max_size=3).map(tuple),
)
def test_whatever_comes_is_accepted_or_refused_with_a_code(values, ops, inputs, outputs):
    """Never another exception: that would end the worker."""
    try:
        validate(ProgramSpec(values, ops, inputs, outputs, LIMITS), _tensors(), ARENA)
    except KernelError as refused:
        assert refused.code.startswith("OCTAVO_")


def test_a_defined_program_runs(backend: Backend):
    tensors = _tensors()
    program = backend.define(_program(), tensors, allocate("int8", "plain", (ARENA,)))
    reply, _ = program.step({"T": 2, "S": 1}, memoryview(np.zeros(68, np.uint8)))
    assert reply.size == 48
    program.close()
    with pytest.raises(KernelError) as refused:
        program.step({"T": 2, "S": 1}, memoryview(np.zeros(68, np.uint8)))
    assert refused.value.code == "OCTAVO_DISPOSED"


@pytest.mark.parametrize("part", ["low", "high", "carries", "step"])
def test_digits_that_a_step_computes_come_from_one_op(part: str):
    """Of another threshold they have the same shapes, and give another product."""
    program = _program()
    digits = program.ops[2].outputs
    first = len(program.values)
    copies = [
        replace(program.values[value], place=Arena(20480 + 2048 * place)) for place, value in enumerate(digits.values())
    ]
    others = {name: first + place for place, name in enumerate(digits)}
    again = Operation("quantize", {"x": 4}, others, {"decompose": "off"})
    values, ops = (*program.values, *copies), (*program.ops[:3], again, *program.ops[3:])
    program = replace(program, values=values, ops=ops)
    validate(program, _tensors(), ARENA)
    with pytest.raises(KernelError, match="results of one op") as refused:
        validate(_inputs(program, 4, **{part: others[part]}), _tensors(), ARENA)
    assert refused.value.code == BAD


@pytest.mark.parametrize(
    ("op", "part"), [("multiply_int8", "high"), ("multiply_int8", "carries"), ("dequantize", "step")]
)
def test_sums_that_a_step_computes_are_of_one_quantisation_and_meet_its_step(op: str, part: str):
    program = _program()
    digits, product = program.ops[2].outputs, program.ops[3]
    first = len(program.values)
    copies = [
        replace(program.values[value], place=Arena(20480 + 2048 * place)) for place, value in enumerate(digits.values())
    ]
    others = {name: first + place for place, name in enumerate(digits)}
    sums = replace(program.values[product.outputs["y"]], dtype="int32", place=Arena(30720))
    operands, total = product.inputs, {"sums": first + len(copies)}
    plain = (
        Operation("quantize", {"x": 4}, others, {"decompose": "off"}),
        Operation("multiply_int8", {name: operands[name] for name in ("low", "high", "carries", "weight")}, total, {}),
        Operation("dequantize", {**total, "step": operands["step"], "scale": operands["scale"]}, product.outputs, {}),
    )
    values, ops = (*program.values, *copies, sums), (*program.ops[:3], *plain, *program.ops[4:])
    program = replace(program, values=values, ops=ops)
    validate(program, _tensors(), ARENA)
    at = next(index for index, operation in enumerate(ops) if operation.op == op)
    with pytest.raises(KernelError, match="results of one op"):
        validate(_inputs(program, at, **{part: others[part]}), _tensors(), ARENA)
