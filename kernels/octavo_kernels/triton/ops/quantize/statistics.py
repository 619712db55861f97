"""row_statistics, row_inliers, quantize_digits: quantize in three, between which ranks can exchange what they know of a
row. See reference/quantize.py."""

# pyright: basic, reportArgumentType=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math

import triton
import triton.language as tl

from ... import numbers
from ...launch import Context, Launch, Operand, strides, tensors
from ..row import load_tile, single, tile_columns, tiling
from .digits import largest_inlier, row_scale, threshold, write_digits, write_header


@triton.jit
def row_statistics_tiles(
    x, statistics, rows, x_stride, statistics_stride, blocks, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr
):
    """One program per row and tile of BLOCKS blocks."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        first = tl.program_id(1) * BLOCKS
        tile = load_tile(x + t * x_stride, tile_columns(first, BLOCKS), COLUMNS, BLOCKS)
        j = first + tl.arange(0, BLOCKS)
        target = statistics + t * statistics_stride + 3 * j
        # By bits: NaN is the largest.
        largest = tl.max(tl.max(numbers.magnitude_bits(tile), axis=2), axis=1)
        tl.store(target, largest.to(tl.float32, bitcast=True), mask=j < blocks)
        tl.store(target + 1, numbers.sums_of_blocks(tl.abs(tile), BLOCKS), mask=j < blocks)
        tl.store(target + 2, numbers.sums_of_squares_of_blocks(tile, BLOCKS), mask=j < blocks)


@triton.jit
def _statistic(statistics, which, blocks, ROOM: tl.constexpr):
    """[ROOM]: one of the three of each block, 0 beyond them."""
    j = tl.arange(0, ROOM)
    return tl.load(statistics + 3 * j + which, mask=j < blocks, other=0.0)


@triton.jit
def row_inliers_rows(
    x, statistics, inliers, rows, x_stride, statistics_stride, blocks, chunks, absolute, relative,
    DECOMPOSE: tl.constexpr, WHOLE: tl.constexpr, ROOM: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """One program per row. WHOLE: columns of the row that the statistics are of."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        squares = numbers.pair_tree(_statistic(statistics + t * statistics_stride, 2, blocks, ROOM), ROOM)
        limit = threshold(squares, absolute, relative, DECOMPOSE, WHOLE)
        largest = tl.full((), 0, tl.int32)
        for chunk in range(chunks):
            tile = load_tile(x + t * x_stride, tile_columns(chunk * BLOCKS, BLOCKS), COLUMNS, BLOCKS)
            largest = tl.maximum(largest, largest_inlier(tile, limit))
        tl.store(inliers + t, largest.to(tl.float32, bitcast=True))


@triton.jit
def quantize_digits_rows(
    x, statistics, inliers, low, high, carries, step, counters, rows,
    x_stride, statistics_stride, low_stride, high_stride, carries_stride, blocks, chunks,
    ROOM: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """One program per row."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        of_row = statistics + t * statistics_stride
        largest = tl.max(_statistic(of_row, 0, blocks, ROOM).to(tl.int32, bitcast=True), axis=0)
        total = numbers.pair_tree(_statistic(of_row, 1, blocks, ROOM), ROOM)
        inlier = tl.load(inliers + t)
        size, inverse, usable, finite = row_scale(largest, total, numbers.magnitude_bits(inlier))
        # Digits of a row that they are not of would not be digits.
        own = tl.full((), 0, tl.int32)
        for chunk in range(chunks):
            tile = load_tile(x + t * x_stride, tile_columns(chunk * BLOCKS, BLOCKS), COLUMNS, BLOCKS)
            own = tl.maximum(own, tl.max(numbers.magnitude_bits(tile), axis=None))
        most = largest.to(tl.float32, bitcast=True)
        fits = (own <= largest) & (inlier >= 0.0) & (inlier <= most) & (most <= total)
        usable, finite = usable & fits, finite & fits
        tl.store(step + t, tl.where(fits, size, float("nan")))
        table = carries + t * carries_stride
        header = tl.zeros((4,), tl.int32)
        for chunk in range(chunks):
            tile = load_tile(x + t * x_stride, tile_columns(chunk * BLOCKS, BLOCKS), COLUMNS, BLOCKS)
            listed = tl.sum(tl.where(tl.arange(0, 4) == 0, header, 0), axis=0)
            header += write_digits(
                tile, chunk * BLOCKS, inverse, usable, low + t * low_stride, high + t * high_stride, table, listed,
                COLUMNS, BLOCKS,
            )  # fmt: skip
        write_header(table, counters, header, finite)


def row_statistics(context: Context, *, x: Operand, statistics: Operand) -> list[Launch]:
    """x [T, K] float32 -> statistics float32 [T, blocks(K), 3]."""
    cut = tiling(x.shape[1])
    arguments, constants = _shared(x, statistics)
    return [Launch(row_statistics_tiles, (x.shape[0], cut.chunks), arguments, constants, cut.warps)]


def row_inliers(
    context: Context,
    *,
    x: Operand,
    statistics: Operand,
    inliers: Operand,
    decompose: str,
    absolute: float,
    relative: float,
    columns: int,
) -> list[Launch]:
    """x [T, K] float32, statistics of a row of `columns` -> inliers float32 [T]."""
    cut = tiling(x.shape[1])
    fixed = {"off": math.inf, "all": 0.0}.get(decompose, single(absolute))
    arguments, constants = _shared(x, statistics)
    arguments |= {"inliers": inliers.tensor, "chunks": cut.chunks, "absolute": fixed, "relative": single(relative)}
    constants |= {"DECOMPOSE": decompose, "WHOLE": columns, "ROOM": _room(statistics)}
    return [Launch(row_inliers_rows, (x.shape[0],), arguments, constants, cut.warps)]


def quantize_digits(
    context: Context,
    *,
    x: Operand,
    statistics: Operand,
    inliers: Operand,
    low: Operand,
    high: Operand,
    carries: Operand,
    step: Operand,
) -> list[Launch]:
    """x [T, K] float32 -> low, high int8 [T, pad64(K)], carries int32 [T, carryWords(K)], step float32 [T]."""
    cut = tiling(x.shape[1])
    arguments, constants = _shared(x, statistics)
    arguments |= tensors(inliers=inliers, low=low, high=high, carries=carries, step=step)
    arguments |= {"counters": context.counters, "chunks": cut.chunks, **strides(low=low, high=high, carries=carries)}
    return [Launch(quantize_digits_rows, (x.shape[0],), arguments, {**constants, "ROOM": _room(statistics)}, cut.warps)]


def _shared(x: Operand, statistics: Operand) -> tuple[dict, dict]:
    both = {"x": x, "statistics": statistics}
    arguments = {**tensors(**both), **strides(**both), "rows": x.rows, "blocks": statistics.shape[1]}
    return arguments, {"COLUMNS": x.shape[1], "BLOCKS": tiling(x.shape[1]).blocks}


def _room(statistics: Operand) -> int:
    """Blocks, rounded up to a power of two."""
    return 1 << (statistics.shape[1] - 1).bit_length()
