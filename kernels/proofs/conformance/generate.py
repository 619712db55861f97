"""Cases from the op table: every choice of every axis once beside the ordinary ones, and random mixtures of choices."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from octavo_kernels.generated.ops import OPS
from octavo_kernels.program.shapes import bind, evaluate
from octavo_kernels.program.spec import AttributeValue, Dimension

from .case import Case
from .domains import DOMAINS
from .floats import narrow

_MIXTURES = 12
_PLACES = ("step", "handles", "columns")


def cases(op: str) -> list[Case]:
    """The cases of an op, the same ones on every machine."""
    found = {case.name: case for case in (_case(op, choice) for choice in _choices(op))}
    return list(found.values())


def _axes(op: str) -> dict[str, tuple]:
    """Axes that the op table gives, then those of domains.py. The first choice of each is the ordinary one."""
    table = OPS[op]
    axes: dict[str, tuple] = {"places": _PLACES}
    for name, operand in table.inputs.items():
        if len(operand.dtypes) > 1 and name != "values":  # keys and values are of one dtype
            axes[f"{name}.dtype"] = operand.dtypes
        if operand.optional:
            axes[name] = (True, False)
    for name, operand in {**table.inputs, **table.outputs}.items():
        if operand.packed:
            axes[f"{name}.packed"] = (True, False)
    for name, attribute in table.attributes.items():
        if attribute.type == "enum":
            axes[name] = attribute.values
        elif attribute.type == "boolean":
            axes[name] = (False, True)
    return {**axes, **DOMAINS[op].axes}


def _choices(op: str) -> Iterator[dict[str, Any]]:
    axes = _axes(op)
    ordinary = {name: values[0] for name, values in axes.items()}
    yield ordinary
    for name, values in axes.items():
        for value in values[1:]:
            yield {**ordinary, name: value}
    rng = np.random.default_rng(zlib.crc32(op.encode()))
    for _ in range(_MIXTURES + 2 * len(axes)):
        yield {name: values[rng.integers(len(values))] for name, values in axes.items()}


def _case(op: str, choice: dict[str, Any]) -> Case:
    table, axes = OPS[op], _axes(op)
    unusual = [f"{name}={_label(choice[name], values)}" for name, values in axes.items() if choice[name] != values[0]]
    name = f"{op}[{' '.join(unusual) or 'ordinary'}]"
    arrays = DOMAINS[op].build(choice, np.random.default_rng(zlib.crc32(name.encode())))
    inputs, dtypes = {}, {}
    for operand_name, operand in table.inputs.items():
        if operand.optional and not choice[operand_name]:
            continue
        same_as = "keys" if operand_name == "values" else operand_name
        dtypes[operand_name] = choice.get(f"{same_as}.dtype", operand.dtypes[0])
        array = arrays[operand_name]
        floating = dtypes[operand_name] in ("float32", "float16", "bfloat16")
        inputs[operand_name] = narrow(array, dtypes[operand_name]) if floating else array
    attributes = _attributes(op, choice, arrays)
    packed = frozenset(
        operand_name for operand_name in (*inputs, *table.outputs) if choice.get(f"{operand_name}.packed", False)
    )
    shapes = outputs_of(op, {name: array.shape for name, array in inputs.items()}, attributes)
    outputs = {name: (dtype, tuple(map(int, shape))) for name, (dtype, shape) in shapes.items()}
    return Case(name, op, inputs, dtypes, outputs, attributes, choice["places"], packed)


def _attributes(op: str, choice: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, AttributeValue]:
    derived: dict[str, AttributeValue] = {}
    if op == "attention":
        derived["heads"] = choice["kvHeads"] * choice["group"]
    if op == "row_inliers":
        derived["columns"] = choice["before"] + choice["K"]
    if op == "gather":  # of one rank; several are processes (tests/test_group_ranks.py)
        derived.update(columns=choice["K"], first=0)
    if op == "sample":
        derived["maskWords"] = arrays["masks"].shape[1]
    return {name: derived[name] if name in derived else choice[name] for name in OPS[op].attributes}


def outputs_of(
    op: str, shapes: Mapping[str, tuple[Dimension, ...]], attributes: Mapping[str, AttributeValue]
) -> dict[str, tuple[str, tuple[Dimension, ...]]]:
    """dtype and shape of each result of an op on inputs of these shapes."""
    table = OPS[op]
    symbols: dict[str, Dimension] = {}
    for name, shape in shapes.items():
        bind(symbols, attributes, table.inputs[name].shape, shape)
    outputs = {}
    for name, operand in table.outputs.items():
        dtype = str(attributes["dtype"]) if op == "cast" else operand.dtypes[0]
        outputs[name] = (dtype, tuple(evaluate(size, symbols, attributes) for size in operand.shape))
    return outputs


def _label(value: Any, values: tuple) -> str:
    """A choice as it stands in a case's name: long ones by their number."""
    return f"#{values.index(value)}" if isinstance(value, tuple) else str(value)
