"""Which ops, at which sizes: what the programs of models run, and the ops of the table that none of them needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from octavo_kernels.generated.ops import OPS, PAGE_SIZE
from octavo_kernels.program.shapes import bind
from octavo_kernels.program.spec import Columns, Dimension, Operation, ProgramSpec, resolve

from ..programs.folder import exported
from ..programs.layers import short
from .models import LLAMA_8B, MODELS, SMOLLM2, Model

#: Rows of a step that the report shows: decode of 1, 8 and 32 sequences, prefill of one prompt of 512 and 2048.
SHOWN = (1, 8, 32, 512, 2048)
#: Where linears change their way of working, and the capture buckets between.
EDGES = (2, 4, 9, 15, 16, 17, 24, 31, 33, 48, 63, 64, 65, 72, 96, 128, 129, 256, 1024)
#: Rows at which attention has each of its forms, but the one of many sequences of one query: that is the code of a
#: prompt's tiles with half their rows, hence fewer registers, and is compiled for the models.
_FORMS = (1, 512)
#: The label of a head of 16 bits, which the report compares with the one that a program has.
HEAD_16_BIT = "logits of a head of 16 bits"
#: The ops whose kernels depend on the number of rows.
_BY_ROWS = ("linear_int8", "linear_float", "linear_published", "attention")
#: Up to this many rows a step is a decode step: each row belongs to a sequence of its own.
MOST_DECODE_ROWS = 128
#: Tokens that a sequence may have, hence the width of the page table.
CONTEXT = 4096


@dataclass(frozen=True)
class Case:
    """An op at given sizes. `sizes` binds the shape symbols of the op table; `dtypes` picks one of several."""

    op: str
    label: str
    sizes: Mapping[str, int]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    #: Optional inputs that are given.
    given: tuple[str, ...] = ()
    #: Operand -> (columns of the value it is a part of, its first column there).
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    #: How often a step runs it.
    times: int = 1


def step(model: Model, rows: int) -> list[Case]:
    """The ops of one step of the model's program, each distinct one once, in the order in which they first come."""
    decode = rows <= MOST_DECODE_ROWS
    sequences = rows if decode else 1
    sizes = {"T": rows, "S": sequences, "B": sequences, "J": CONTEXT // PAGE_SIZE, "H": sequences * 64, "D": 1, "Q": 1}
    program = exported(model.name)
    found: dict[str, Case] = {}
    for operation, label in zip(program.spec.ops, program.labels, strict=True):
        case = _case(program.spec, operation, short(label), sizes)
        identity = repr(case)
        times = found[identity].times + 1 if identity in found else 1
        found[identity] = replace(case, times=times)
    return list(found.values())


def _case(spec: ProgramSpec, operation: Operation, label: str, sizes: Mapping[str, int]) -> Case:
    table = OPS[operation.op]
    symbols: dict[str, Dimension] = {}
    dtypes: dict[str, str] = {}
    parts: dict[str, tuple[int, int]] = {}
    for name, index in {**operation.inputs, **operation.outputs}.items():
        value = spec.values[index]
        bind(symbols, operation.attributes, {**table.inputs, **table.outputs}[name].shape, resolve(value.shape, sizes))
        dtypes[name] = value.dtype
        if isinstance(value.place, Columns):
            parts[name] = (resolve(spec.values[value.place.of].shape, sizes)[-1], value.place.column)
    given = tuple(name for name in operation.inputs if table.inputs[name].optional)
    numbers = {name: int(size) for name, size in symbols.items()}
    return Case(operation.op, label, numbers, operation.attributes, dtypes, given, parts)


def others(model: Model, rows: int) -> list[Case]:
    """Ops of the table that no fused step of a model here runs, at the model's sizes."""
    hidden, q = model.hidden, model.heads * model.head_dim
    of = {"T": rows, "K": hidden}
    table = {"W": q, "P": CONTEXT, "R": model.head_dim // 2}
    vocabulary = {"S": rows, "V": model.vocabulary}
    head = Case("linear_float", HEAD_16_BIT, {**of, "N": model.vocabulary}, {}, {"weight": "bfloat16"})
    return [
        *([head] if rows == 1 else ()),
        Case("row_statistics", "statistics of rows", of),
        Case("row_inliers", "largest inlier", of, {"columns": hidden}),
        Case("quantize_digits", "digits", {**of, "M": hidden // 64}),
        Case("multiply_int8", "product of int8", {**of, "N": model.qkv}),
        Case("dequantize", "dequantize", {"T": rows, "N": model.qkv}, given=("bias",)),
        Case("norm_quantize", "norm and quantize", of, {"kind": "rms"}),
        Case("norm", "norm", of, {"kind": "rms"}),
        Case("add", "add", of),
        Case("gather", "gather of one rank", of, {"columns": hidden}),
        Case("cast", "cast", of, {"dtype": "bfloat16"}, {"y": "bfloat16"}),
        Case("glu", "glu", {"T": rows, "K": model.intermediate}, {"activation": "silu"}),
        Case("activate", "activation", {"T": rows, "K": model.intermediate}, {"activation": "gelu"}),
        Case("rope", "rope", {"T": rows, **table}, {"headDim": model.head_dim, "pairing": "interleaved"}),
        Case("pool", "pool", {**of, "B": 4}, {"kind": "mean", "normalize": True}),
        Case("score", "score", vocabulary, {}, {}, ("reference",)),
        Case("quantize_weight", "quantize a weight", {"N": hidden, "K": hidden}, {}, {"weight": "bfloat16"}),
        Case("linear_published", "linear as published", {**of, "N": model.qkv}, {"threshold": 6.0}),
        Case(
            "linear_scheme",
            "linear by a scheme",
            {**of, "N": model.qkv},
            {"codes": "zeropoint", "scope": "tensor", "threshold": 6.0},
            {"weight": "bfloat16"},
            ("bias",),
        ),
        Case("observe_outliers", "observe outliers", of, {"threshold": 6.0}),
        Case("linear_float", "linear of 16 bits", {**of, "N": model.qkv}, {}, {"weight": "float16"}),
        Case("observe_outliers", "observe outliers", of),
    ]


def of_other_families(rows: int) -> list[Case]:
    """What other families take of the table, at the sizes of BLOOM-176B: layer norm with a bias, gelu, keys that are
    not turned."""
    hidden, heads, head_dim = 14336, 112, 128
    parts = {"k": (3 * hidden, hidden), "v": (3 * hidden, 2 * hidden)}
    of, layer, bias = {"T": rows, "K": hidden}, {"kind": "layer"}, ("bias",)
    cache = {"kvHeads": heads, "headDim": head_dim}
    return [
        Case("add_norm_quantize", "add, layer norm and quantize", of, layer, given=bias),
        Case("append", "append", {"T": rows, **_pages(rows)}, cache, parts=parts),
        *(attention_of_other_families(rows) if rows in _FORMS else ()),
        Case("activate", "gelu_tanh", {"T": rows, "K": 4 * hidden}, {"activation": "gelu_tanh"}),
        Case("quantize", "quantize", {"T": rows, "K": 4 * hidden}),
        Case("norm", "layer norm", of, layer, given=bias),
    ]


def attention_of_other_families(rows: int) -> list[Case]:
    """What attention has besides what the models here take: ALiBi, pages of 8 bits, both directions and a bias (at the
    sizes of a small encoder), heads of 256 elements and a softcap."""
    of, eight = {"T": rows, **_pages(rows)}, {"keys": "int8", "values": "int8"}
    each = {"heads": 112, "kvHeads": 112, "headDim": 128, "scale": 128**-0.5}
    encoder = {"heads": 12, "kvHeads": 12, "headDim": 64, "scale": 0.125, "causal": False}
    wide = {"heads": 8, "kvHeads": 4, "headDim": 256, "scale": 0.0625}
    return [
        Case("attention", "attention with ALiBi", of, each, given=("slopes",)),
        Case("attention", "attention of 8-bit pages", of, each, eight),
        Case("attention", "attention both ways with a bias", {**of, "R": 64}, encoder, given=("bias",)),
        Case("attention", "attention of wide heads", of, wide),
        Case("attention", "attention with a softcap", of, {**each, "kvHeads": 28, "softcap": 50.0}),
    ]


def _pages(rows: int) -> dict[str, int]:
    sequences = rows if rows <= MOST_DECODE_ROWS else 1
    return {"G": sequences * CONTEXT // PAGE_SIZE, "B": sequences, "J": CONTEXT // PAGE_SIZE}


def cases() -> Iterator[tuple[str, int, Case]]:
    """(model, rows, case): all that is compiled, each case once; of the ops that have kernels."""
    from octavo_kernels.triton.ops import PLANS

    seen = set()
    for model, rows, case in _all():
        if case.op not in PLANS or (rows in EDGES and case.op not in _BY_ROWS):
            continue
        identity = repr((model, case))
        if identity not in seen:
            seen.add(identity)
            yield model, rows, case


def _all() -> Iterator[tuple[str, int, Case]]:
    for model in MODELS:
        # Of other sizes there are only other numbers of splits.
        small = model in (LLAMA_8B, SMOLLM2)
        for rows in (*SHOWN, *(EDGES if small else ())):
            for case in (*step(model, rows), *(others(model, rows) if small else ())):
                yield model.name, rows, case
    for rows in SHOWN:
        for case in of_other_families(rows):
            yield "BLOOM-176B", rows, case
