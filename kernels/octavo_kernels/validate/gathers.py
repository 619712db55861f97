"""What a program does with other ranks: only with a group that has them, and no more columns than there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ErrorCode, KernelError
from ..program.spec import ProgramSpec

if TYPE_CHECKING:
    from ..cpu.group import Group


#: Where the stage stands that an op needs, seen from this one.
_FAR_STAGES = {"send": 1, "receive": -1}


def check_gathers(spec: ProgramSpec, group: Group | None) -> None:
    """Raise KernelError where this rank's columns cannot be its part of all, and where there is no stage to send to or
    to receive from. Operands were checked before; whether the ranks' parts lie side by side, they find out when they
    meet."""
    stage, stages = (0, 1) if group is None else (group.stage, group.stages)
    ranks = 1 if group is None else group.ranks // stages
    rank = 0 if group is None else group.rank - stage * ranks
    for index, operation in enumerate(spec.ops):
        if operation.op in _FAR_STAGES:
            other = stage + _FAR_STAGES[operation.op]
            if not 0 <= other < stages:
                text = f"op {index} ({operation.op}): stage {stage} of {stages} has none there"
                raise KernelError(ErrorCode.BAD_ARGUMENT, text)
        if operation.op != "gather":
            continue
        where = f"op {index} (gather)"
        own = int(spec.values[operation.inputs["x"]].shape[1])
        columns, first = (int(operation.attributes[name]) for name in ("columns", "first"))
        part = f"columns {first}..{first + own - 1} of {columns}"
        if group is None and own != columns:
            text = f"{where}: {part} are not all of them, and the program has no group to get the others from"
            raise KernelError(ErrorCode.BAD_ARGUMENT, text)
        if first + own > columns:
            raise KernelError(ErrorCode.SHAPE_MISMATCH, f"{where}: {part}: these are beyond the last column")
        if (first == 0) != (rank == 0) or (first + own == columns) != (rank == ranks - 1):
            text = f"{where}: {part} cannot be those of rank {rank} of {ranks}: ranks lie side by side, in order"
            raise KernelError(ErrorCode.SHAPE_MISMATCH, text)
