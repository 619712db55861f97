"""Results that would destroy what is still needed: in the arena, and among the operands of one op."""

from __future__ import annotations

from .errors import KernelError
from .generated.ops import OPS
from .places import written_root
from .program import Arena, Columns, Handle, Operation, ProgramSpec, resolve
from .tensor import nbytes


def check_overlaps(spec: ProgramSpec) -> None:
    """Raise KernelError when two intermediates share bytes while both are needed, or an op writes its own operand.

    An intermediate is needed from the op that writes it to the last one that reads it, both included; what the
    program returns, to the end (as in `ts/program/arena.ts`).
    """
    for index, operation in enumerate(spec.ops):
        _check_operands(f"op {index} ({operation.op})", operation, spec)
    alive: dict[int, tuple[int, int]] = {}
    last = _last_uses(spec)
    for index, operation in enumerate(spec.ops):
        alive = {value: place for value, place in alive.items() if last[value] >= index}
        for value in (*operation.inputs.values(), *operation.outputs.values()):
            root = written_root(value, spec.values)
            if root in alive or not isinstance(spec.values[root].place, Arena):
                continue
            start, end = _bytes(spec, root)
            for other, (other_start, other_end) in alive.items():
                if start < other_end and other_start < end:
                    text = f"value {root} (arena {start}..{end}) overlaps value {other}, which is still needed"
                    raise KernelError("OCTAVO_BAD_ARGUMENT", f"op {index} ({operation.op}): {text}")
            alive[root] = (start, end)


def _last_uses(spec: ProgramSpec) -> dict[int, int]:
    last = {}
    for index, operation in enumerate(spec.ops):
        for value in (*operation.inputs.values(), *operation.outputs.values()):
            last[written_root(value, spec.values)] = index
    for value in spec.outputs:
        last[written_root(value, spec.values)] = len(spec.ops)
    return last


def _bytes(spec: ProgramSpec, root: int) -> tuple[int, int]:
    value = spec.values[root]
    assert isinstance(value.place, Arena)
    size = nbytes(value.dtype, value.layout, resolve(value.shape, spec.limits))
    return value.place.offset, value.place.offset + size


def _check_operands(where: str, operation: Operation, spec: ProgramSpec) -> None:
    table = OPS[operation.op]
    written = {name: value for name, value in operation.inputs.items() if table.inputs[name].mutated}
    written.update(operation.outputs)
    everything = {**operation.inputs, **operation.outputs}
    for name, value in written.items():
        for other_name, other in everything.items():
            if (
                other_name != name
                and _memory(spec, value) == _memory(spec, other)
                and _columns_meet(spec, value, other)
            ):
                text = f"{name} (value {value}) lies where {other_name} (value {other}) lies"
                raise KernelError("OCTAVO_BAD_ARGUMENT", f"{where}: {text}")


def _memory(spec: ProgramSpec, value: int) -> object:
    root = written_root(value, spec.values)
    place = spec.values[root].place
    return place if isinstance(place, Handle) else root


def _columns_meet(spec: ProgramSpec, value: int, other: int) -> bool:
    """Whether two views of one memory share elements; different columns of one value do not."""
    first, second = spec.values[value], spec.values[other]
    if not (isinstance(first.place, Columns) and isinstance(second.place, Columns)):
        return True
    if first.place.of != second.place.of:  # columns of columns: nobody needs to tell these apart
        return True
    (_, width), (_, other_width) = resolve(first.shape, spec.limits), resolve(second.shape, spec.limits)
    return first.place.column < second.place.column + other_width and second.place.column < first.place.column + width
