"""Where a tile of rows has second digits: lists of groups of columns, made of the `carries` of the rows."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["group_count"])
def carry_groups(
    carries,
    rows,
    counts,
    groups,
    flags,
    carries_stride,
    group_count,
    BLOCK_M: tl.constexpr,
    GROUP: tl.constexpr,
    ENTRIES: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """groups[tile, :counts[tile]]: ascending, the groups of GROUP columns in which a row of the tile has a carry.

    carries: int32, see docs/numerics.md: how many groups of 4 columns have a carry in this row, ..., those groups.
    groups: int32 [tiles, group_count]. flags: int32 of the same size, scratch. One program per tile of BLOCK_M rows.
    """
    tile = tl.program_id(0)
    flags += tile.to(tl.int64) * group_count
    groups += tile.to(tl.int64) * group_count
    m = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    table = carries + m.to(tl.int64) * carries_stride
    listed = tl.load(table, mask=m < tl.load(rows), other=0)
    most = tl.max(listed, axis=0)
    # A row with carries in half of all places is not worth reading: more groups than needed are right as well.
    crowded = most * 2 > group_count * (GROUP // 4)
    for start in tl.range(0, group_count, CHUNK):
        g = start + tl.arange(0, CHUNK)
        tl.store(flags + g, tl.full((CHUNK,), 0, tl.int32) + crowded.to(tl.int32), mask=g < group_count)
    tl.debug_barrier()
    for start in tl.range(0, tl.where(crowded, 0, most), ENTRIES):
        entry = start + tl.arange(0, ENTRIES)
        present = entry[None, :] < listed[:, None]
        four = tl.load(table[:, None] + 4 + entry[None, :], mask=present, other=0)
        tl.store(flags + four // (GROUP // 4), 1, mask=present)
    tl.debug_barrier()
    found = tl.full((), 0, tl.int32)
    for start in tl.range(0, group_count, CHUNK):
        g = start + tl.arange(0, CHUNK)
        flag = tl.load(flags + g, mask=g < group_count, other=0, cache_modifier=".cg")
        place = found + tl.cumsum(flag, 0) - flag
        tl.store(groups + place, g, mask=flag > 0)
        found += tl.sum(flag, axis=0)
    tl.store(counts + tile, found)
