"""A `define` message as the kernels' `ProgramSpec`."""

from __future__ import annotations

from octavo_kernels import Arena, Columns, ErrorCode, Handle, Input, KernelError, Operation, ProgramSpec, Value
from octavo_kernels.generated.ops import SIZES

from .generated import messages as wire


def program_spec(message: wire.Define) -> ProgramSpec:
    return ProgramSpec(
        values=tuple(_value(value) for value in message.values),
        ops=tuple(_operation(operation) for operation in message.ops),
        inputs=message.inputs,
        outputs=message.outputs,
        limits=sizes(message.limits),
    )


def used_handles(spec: ProgramSpec, arena: int | None, group: int | None) -> frozenset[int]:
    """What the program works with: its tensors, arena and group. Raises KernelError when a value lies in the arena by
    its handle: what is checked of handles before a step would then be what its ops write over."""
    handles = {value.place.handle for value in spec.values if isinstance(value.place, Handle)}
    if arena in handles:
        raise KernelError(ErrorCode.BAD_ARGUMENT, f"handle {arena} is the program's arena and holds a value too")
    return frozenset((*handles, *(handle for handle in (arena, group) if handle is not None)))


def sizes(message: wire.Sizes) -> dict[str, int]:
    return {size: getattr(message, size) for size in SIZES}


def _value(value: wire.Value) -> Value:
    shape = tuple(d.size if isinstance(d, wire.FixedDimension) else d.symbol for d in value.shape)
    return Value(value.dtype, value.layout, shape, _place(value.place))


def _place(place: wire.Place) -> Handle | Arena | Input | Columns:
    if isinstance(place, wire.HandlePlace):
        return Handle(place.handle)
    if isinstance(place, wire.ArenaPlace):
        return Arena(place.offset)
    if isinstance(place, wire.ColumnsPlace):
        return Columns(place.of, place.column)
    return Input()


def _operation(operation: wire.Operation) -> Operation:
    return Operation(
        op=operation.op,
        inputs={operand.name: operand.value for operand in operation.inputs},
        outputs={operand.name: operand.value for operand in operation.outputs},
        attributes={attribute.name: _attribute(attribute) for attribute in operation.attributes},
    )


def _attribute(attribute: wire.Attribute) -> float | int | bool | str:
    if isinstance(attribute, wire.NumberAttribute):
        return attribute.number
    if isinstance(attribute, wire.IntegerAttribute):
        return attribute.integer
    if isinstance(attribute, wire.BooleanAttribute):
        return attribute.boolean
    return attribute.value
