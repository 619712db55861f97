"""Whole-program validation against the op table, before any effect. Every backend's `define` begins with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

from ..errors import ErrorCode, KernelError
from ..generated.ops import OPS
from ..program.shapes import ShapeError, bind, evaluate
from ..program.spec import AttributeValue, Dimension, Operation, ProgramSpec, Value
from ..tensor import Tensors
from .gathers import check_gathers
from .overlaps import check_overlaps
from .places import check_places
from .rules import check_rules
from .sources import check_digits, check_sources

if TYPE_CHECKING:
    from ..cpu.group import Group

_LARGEST = 3.4028234663852886e38


def validate(spec: ProgramSpec, tensors: Tensors, arena_bytes: int, group: Group | None = None) -> ProgramSpec:
    """Check ops, attributes, dtypes, layouts, shapes and places; `arena_bytes` is 0 without an arena. `group`: of the
    ranks that run it together.

    Returns the program with every attribute filled in. Raises KernelError with a code of the error table and a
    message that names the op by index, the operand, and both shapes.
    """
    check_places(spec, tensors, arena_bytes)
    ops = []
    for index, operation in enumerate(spec.ops):
        where = f"op {index} ({operation.op})"
        if operation.op not in OPS:
            raise KernelError(ErrorCode.UNKNOWN_OP, f"{where}: no such op; there are {', '.join(OPS)}")
        ops.append(check_operation(where, operation, spec.values))
    check_sources(spec)
    check_digits(spec)
    check_overlaps(spec)
    complete = replace(spec, ops=tuple(ops))
    check_gathers(complete, group)
    return complete


def check_operation(where: str, operation: Operation, values: Sequence[Value]) -> Operation:
    """The op with all its attributes. Raises KernelError for what the op table does not allow."""
    operation = replace(operation, attributes=attributes_of(where, operation))
    symbols = _check_operands(where, operation, values)
    check_rules(where, operation, values, symbols)
    return operation


def attributes_of(where: str, operation: Operation) -> dict[str, AttributeValue]:
    """All attributes of the op in the table's order, defaults filled in; checked for type and range."""
    table = OPS[operation.op].attributes
    unknown = [name for name in operation.attributes if name not in table]
    if unknown:
        raise _bad(f"{where}: no attribute {unknown[0]!r}; there are {', '.join(table) or 'none'}")
    filled: dict[str, AttributeValue] = {}
    for name, attribute in table.items():
        value = operation.attributes.get(name, attribute.default)
        if value is None:
            raise _bad(f"{where}: the attribute {name} is missing and has no default")
        if attribute.type == "enum":
            if value not in attribute.values:
                raise _bad(f"{where}: {name} is {value!r}, not one of {', '.join(attribute.values)}")
        elif attribute.type == "boolean":
            if not isinstance(value, bool):
                raise _bad(f"{where}: {name} is {value!r}, not a boolean")
        else:
            number = filled[name] = _number(f"{where}: {name}", attribute.type, value)
            low, high = attribute.min, attribute.max
            if (low is not None and number < low) or (high is not None and number > high):
                raise _bad(f"{where}: {name} is {value}, outside {low}..{'' if high is None else high}")
            continue
        filled[name] = value
    return filled


def _number(what: str, kind: str, value: object) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise _bad(f"{what} is {value!r}, not a finite number")
    if abs(value) > _LARGEST:
        raise _bad(f"{what} is {value!r}, beyond a 32-bit float")
    if kind == "integer":
        if int(value) != value:
            raise _bad(f"{what} is {value!r}, not an integer")
        return int(value)
    return float(value)


def _check_operands(where: str, operation: Operation, values: Sequence[Value]) -> dict[str, Dimension]:
    """The sizes of the op's symbols."""
    table = OPS[operation.op]
    symbols: dict[str, Dimension] = {}
    present = []
    for given, expected in ((operation.inputs, table.inputs), (operation.outputs, table.outputs)):
        for name in given:
            if name not in expected:
                raise _bad(f"{where}: no operand {name!r}; there are {', '.join(expected) or 'none'}")
        for name, operand in expected.items():
            if name not in given:
                if operand.optional:
                    continue
                raise _bad(f"{where}: the operand {name} is missing")
            if not 0 <= given[name] < len(values):
                raise _bad(f"{where}: {name} is value {given[name]}, but there are {len(values)} values")
            present.append((name, operand, values[given[name]]))
    for name, operand, value in present:
        if value.dtype not in operand.dtypes:
            accepted = ", ".join(operand.dtypes)
            raise KernelError(ErrorCode.DTYPE_MISMATCH, f"{where}: {name} is {value.dtype}; accepted: {accepted}")
        if value.layout != "plain" and not operand.packed:
            raise KernelError(ErrorCode.DTYPE_MISMATCH, f"{where}: {name} has the layout {value.layout}, must be plain")
        if len(value.shape) != len(operand.shape):
            raise _shape(where, name, operand.shape, operand.shape, value.shape)
        _check_columns(f"{where}: {name} {_text(value.shape)}", operand.shape, value.shape)
        try:
            bind(symbols, operation.attributes, operand.shape, value.shape)
        except ShapeError as error:
            raise KernelError(ErrorCode.SHAPE_MISMATCH, f"{where}: {name} {_text(value.shape)}: {error}") from error
    for name, operand, value in present:
        try:
            expected = tuple(evaluate(size, symbols, operation.attributes) for size in operand.shape)
        except ShapeError as error:
            raise KernelError(ErrorCode.SHAPE_MISMATCH, f"{where}: {name} {_text(value.shape)}: {error}") from error
        if expected != tuple(value.shape):
            raise _shape(where, name, operand.shape, expected, value.shape)
    return symbols


def _check_columns(what: str, expressions: Sequence[str], shape: Sequence[Dimension]) -> None:
    """Rows have columns, and as many in each step: the work of a step is then bounded by memory that is there, and its
    arrays lie as they were laid out. Page tables alone are as wide as the step says."""
    for expression, size in zip(expressions[1:], shape[1:], strict=True):
        if size == 0:
            raise KernelError(ErrorCode.SHAPE_MISMATCH, f"{what}: there are no elements in a row")
        if isinstance(size, str) and size != expression:
            text = f"{what}: {expression} needs a fixed size, but a step brings {size}"
            raise KernelError(ErrorCode.SHAPE_MISMATCH, text)


def _shape(where: str, name: str, formula: Sequence[str], expected: Sequence, got: Sequence) -> KernelError:
    text = f"{where}: {name} has the shape {_text(got)}, expected {_text(formula)}"
    if tuple(expected) != tuple(formula):
        text += f" = {_text(expected)}"
    return KernelError(ErrorCode.SHAPE_MISMATCH, text)


def _text(shape: Sequence) -> str:
    return "[" + ", ".join(str(size) for size in shape) + "]"


def _bad(text: str) -> KernelError:
    return KernelError(ErrorCode.BAD_ARGUMENT, text)
