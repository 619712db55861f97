"""The op table means the same in both languages: what the builder accepts, a worker accepts, and nothing else."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from octavo_kernels import KernelError
from octavo_kernels.generated.ops import OPS
from octavo_kernels.program.shapes import ShapeError, bind, evaluate
from octavo_kernels.program.spec import AttributeValue, Dimension, Input, Operation, Value
from octavo_kernels.validate.program import attributes_of, check_operation

_GOLDEN = Path(__file__).parents[2] / "protocol" / "golden" / "operations.json"
_VECTORS: list[dict[str, Any]] = json.loads(_GOLDEN.read_text())
_RIGHT: dict[str, dict[str, Any]] = {}
for _vector in _VECTORS:
    _RIGHT.setdefault(_vector["op"], _vector)


def _refusal(vector: dict[str, Any]) -> KernelError | None:
    right, table = _RIGHT[vector["op"]], OPS[vector["op"]]
    given = _merged(right["inputs"], vector["inputs"])
    attributes = {
        name: said for name, said in {**right["attributes"], **vector["attributes"]}.items() if said is not None
    }
    values = [Value(dtype, layout, tuple(shape), Input()) for dtype, layout, shape in given.values()]
    inputs = {name: index for index, name in enumerate(given)}
    try:
        filled = attributes_of("op", Operation(vector["op"], inputs, {}, attributes))
        symbols: dict[str, Dimension] = {}
        for name, operand in table.inputs.items():
            if name in inputs and len(values[inputs[name]].shape) == len(operand.shape):
                with contextlib.suppress(ShapeError):
                    bind(symbols, filled, operand.shape, values[inputs[name]].shape)
        outputs = {}
        for name, operand in table.outputs.items():  # as the builder makes them
            dtype = operand.dtypes[0] if len(operand.dtypes) == 1 else str(filled["dtype"])
            outputs[name] = len(values)
            shape = tuple(_size(expression, symbols, filled) for expression in operand.shape)
            values.append(Value(dtype, "plain", shape, Input()))
        check_operation("op", Operation(vector["op"], inputs, outputs, attributes), values)
    except KernelError as refused:
        return refused
    return None


def _merged(right: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    return {name: given for name, given in {**right, **changed}.items() if given is not None}


def _size(expression: str, symbols: dict[str, Dimension], attributes: dict[str, AttributeValue]) -> Dimension:
    try:
        return evaluate(expression, symbols, attributes)
    except ShapeError:  # There are no results then: what was given is refused.
        return 1


@pytest.mark.parametrize("op", OPS)
def test_both_languages_accept_and_refuse_the_same_ops(op: str) -> None:
    vectors = [vector for vector in _VECTORS if vector["op"] == op]
    assert vectors[0].get("code") is None
    for vector in vectors:
        refused = _refusal(vector)
        assert vector.get("code") == (refused and refused.code), (vector, str(refused))
        if "text" in vector:
            assert refused is not None and refused.message == f"op: {vector['text']}"


def test_every_rule_of_the_table_is_broken_by_some_op() -> None:
    broken = {vector["text"] for vector in _VECTORS if "text" in vector}
    rules = {rule.text for op in OPS.values() for rule in op.rules if rule.left != "y"}  # results are made as they say
    for text in rules:
        start = text.partition("{")[0]
        assert any(said.startswith(start) for said in broken), text
