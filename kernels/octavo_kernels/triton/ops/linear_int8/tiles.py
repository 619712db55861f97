"""Tiles of linear_int8 by architecture and rows: tables and a rule for splits, nothing tuned at run time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ....generated.workspace import SPLIT_BYTES
from ...launch import cdiv


@dataclass(frozen=True)
class Tile:
    """What one program computes: rows by outputs, in steps of columns."""

    rows: int
    outputs: int
    columns: int
    warps: int
    stages: int
    #: Programs that an SM holds at once, by shared memory and registers.
    resident: int = 1
    #: Prefill: columns of the lists of carries that are multiplied at once; the registers decide.
    carries: int = 64
    #: Most registers per thread; None: the compiler's choice.
    registers: int | None = None

    @property
    def slab(self) -> int:
        """Bytes of a partial result."""
        return 4 * self.rows * self.outputs


# Most rows -> tile. Shared memory per stage is (2 rows + outputs) * columns bytes: 227 KB an SM on sm_90 and sm_100,
# 163 KB on sm_80, 99 KB on sm_86 and sm_89. From 64 outputs and 256 columns on, a loop costs 11 to 15 instructions per
# warp and 512 bytes of weights (counted in SASS); wider tiles read the digits less often from L2.
_DECODE: dict[int, tuple[Tile, ...]] = {
    80: (
        Tile(8, 64, 256, 4, 4, 2),
        Tile(16, 64, 256, 4, 4, 2),
        Tile(32, 64, 256, 4, 3, 2),
        Tile(64, 128, 128, 8, 3, 2),
    ),
    86: (Tile(8, 64, 256, 4, 3, 2), Tile(16, 64, 256, 4, 3, 2), Tile(32, 64, 128, 4, 4, 2), Tile(64, 128, 128, 8, 3)),
    90: (
        Tile(8, 64, 256, 4, 4, 2),
        Tile(16, 64, 256, 4, 4, 2),
        Tile(32, 64, 256, 4, 3, 2),
        Tile(64, 128, 128, 8, 3, 2),
    ),
}
_DECODE[89] = _DECODE[86]
_DECODE[100] = _DECODE[80]

# Two programs to an SM hide each other's waits: int8 wgmma is synchronous in Triton 3.6.
# 128 registers are what they leave each other.
_PREFILL = {
    80: Tile(128, 128, 64, 8, 4, 2, 64, 128),
    86: Tile(128, 128, 64, 8, 4, 2, 32, 128),
    89: Tile(128, 128, 64, 8, 4, 2, 32, 128),
    90: Tile(128, 128, 128, 8, 3, 2, 128, 128),
    100: Tile(128, 128, 128, 8, 3),
}

#: sm_90, Gluon: no two products wait for each other, so one program to an SM, and the largest tile that has registers.
ASYNCHRONOUS = Tile(128, 256, 128, 8, 4)

#: Up to this many rows both digits are multiplied densely: the weights' bytes, or fewer launches, decide.
MOST_DECODE_ROWS = {80: 64, 86: 64, 89: 128, 90: 128, 100: 64}


def known(architecture: int) -> int:
    """The newest architecture of the tables that is not newer than this one."""
    return max((one for one in _PREFILL if one <= architecture), default=min(_PREFILL))


def decode_tile(architecture: int, rows: int, columns: int) -> Tile:
    """The smallest tile that holds all rows, or the largest; its columns divide a multiple of 64."""
    table = _DECODE[known(architecture)]
    return _dividing(next((tile for tile in table if rows <= tile.rows), table[-1]), columns)


def prefill_tile(architecture: int, columns: int) -> Tile:
    """As decode_tile."""
    return _dividing(_PREFILL[known(architecture)], columns)


def asynchronous(architecture: int, rows: int, outputs: int, processors: int) -> bool:
    """Whether the Gluon kernel's waves of large tiles take no longer than those of prefill_tile, of half the size."""
    if known(architecture) != 90:
        return False
    large, small = ASYNCHRONOUS, _PREFILL[90]
    waves = cdiv(cdiv(rows, large.rows) * cdiv(outputs, large.outputs), processors)
    return 2 * waves <= cdiv(cdiv(rows, small.rows) * cdiv(outputs, small.outputs), processors)


def _dividing(tile: Tile, columns: int) -> Tile:
    step = tile.columns
    while columns % 64 == 0 and columns % step:
        step //= 2
    return replace(tile, columns=step)


def split(programs: int, steps: int, slots: int, overhead: float, slab: int) -> tuple[int, int]:
    """Into how many parts to cut K, and the loop steps of a part, so that the last wave of programs is short.

    `programs` fill `slots` at a time and run `steps` each. A slab costs `overhead` steps to write, and to read; it has
    `slab` bytes, and all of them together no more than SPLIT_BYTES.
    """
    best = (cdiv(programs, slots) * float(steps), 1, steps)
    # With waves enough, slabs cost more than a last wave that is not full.
    most = min(steps // 2, 16, SPLIT_BYTES // (programs * slab)) if programs < 2 * slots else 1
    for parts in range(2, most + 1):
        length = cdiv(steps, parts)
        real = cdiv(steps, length)
        cost = cdiv(programs * real, slots) * (length + overhead + 1) + real * overhead
        best = min(best, (cost, real, length))
    return best[1], best[2]
