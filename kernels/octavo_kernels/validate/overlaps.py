"""Results that would destroy what is still needed: in the arena, and among the operands of one op."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ..errors import ErrorCode, KernelError
from ..program.spec import Arena, Columns, Operation, ProgramSpec, resolve
from ..tensor import nbytes
from .places import written_root
from .sources import memory_of, written_by


def check_overlaps(spec: ProgramSpec) -> None:
    """Raise KernelError when two intermediates share bytes while both are needed, or an op writes its own operand.

    An intermediate is needed from the op that writes it to the last one that reads it, both included; what the
    program returns, to the end (as in `ts/program/arena.ts`).
    """
    for index, operation in enumerate(spec.ops):
        _check_operands(f"op {index} ({operation.op})", operation, spec)
    last = _last_uses(spec)
    # Intermediates that are needed, by first byte; those that may end, by the op after which they do.
    starts: list[int] = []
    alive: dict[int, tuple[int, int]] = {}
    ending: dict[int, list[int]] = {}
    needed: set[int] = set()
    for index, operation in enumerate(spec.ops):
        for start in ending.pop(index - 1, ()):
            del starts[bisect_left(starts, start)]
            needed.discard(alive.pop(start)[1])
        for value in (*operation.inputs.values(), *operation.outputs.values()):
            root = written_root(value, spec.values)
            if root in needed or not isinstance(spec.values[root].place, Arena):
                continue
            start, end = _bytes(spec, root)
            # Those that are needed lie apart: only the neighbours can meet this one.
            at = bisect_right(starts, start)
            for neighbour in starts[max(0, at - 1) : at + 1]:
                other_end, other = alive[neighbour]
                if start < other_end and neighbour < end:
                    text = f"value {root} (arena {start}..{end}) overlaps value {other}, which is still needed"
                    raise KernelError(ErrorCode.BAD_ARGUMENT, f"op {index} ({operation.op}): {text}")
            starts.insert(at, start)
            alive[start] = end, root
            needed.add(root)
            ending.setdefault(last[root], []).append(start)


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
    everything = {**operation.inputs, **operation.outputs}
    for name, value in written_by(operation).items():
        for other_name, other in everything.items():
            if (
                other_name != name
                and memory_of(spec, value) == memory_of(spec, other)
                and _columns_meet(spec, value, other)
            ):
                text = f"{name} (value {value}) lies where {other_name} (value {other}) lies"
                raise KernelError(ErrorCode.BAD_ARGUMENT, f"{where}: {text}")


def _columns_meet(spec: ProgramSpec, value: int, other: int) -> bool:
    """Whether two views of one memory share elements; different columns of one value do not."""
    first, second = spec.values[value], spec.values[other]
    if not (isinstance(first.place, Columns) and isinstance(second.place, Columns)):
        return True
    if first.place.of != second.place.of:  # columns of columns: nobody needs to tell these apart
        return True
    (_, width), (_, other_width) = resolve(first.shape, spec.limits), resolve(second.shape, spec.limits)
    return first.place.column < second.place.column + other_width and second.place.column < first.place.column + width
