"""linear_int8 for many rows: bound by the tensor cores, so second digits are multiplied only where there are some.

Each tile of rows has a list of groups of columns with a carry (blocks.py). Their products come first; the accumulator
times 255 then starts the dense product of the low digits: one accumulator, integers, no second pass over outputs.

Groups of columns, not columns: with the adaptive threshold 37 to 99 % of the groups of 32 columns have a carry in some
of 128 rows, but 1 to 14 % of the columns (SmolLM2-135M). Yet a column of row-major weights costs L2 the same
sectors as its whole group, so columns would pay only as a panel that is gathered once per call: two launches more, as
much memory as the weight in the worst case, and more columns the more rows there are.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .epilogue import arrives_last, column_factors, store_outputs, sum_of_splits


@triton.jit
def tile_of(program, row_tiles, column_tiles, HEIGHT: tl.constexpr):
    """(tile of rows, tile of outputs), HEIGHT tiles of rows at a time, so that neighbours in time share operands."""
    band = program // (HEIGHT * column_tiles)
    height = tl.minimum(row_tiles - band * HEIGHT, HEIGHT)
    within = program % (HEIGHT * column_tiles)
    return band * HEIGHT + within % height, within // height


@triton.jit(do_not_specialize=["capacity", "group_count"])
def prefill(
    low,
    high,
    step,
    weight,
    scale,
    bias,
    y,
    rows,
    counts,
    groups,
    partial,
    tickets,
    low_tiles,
    weight_tiles,
    low_stride,
    high_stride,
    weight_stride,
    y_stride,
    capacity,
    outputs,
    columns,
    chunk,
    group_count,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
    CARRY_K: tl.constexpr,
    SPLITS: tl.constexpr,
    EVEN: tl.constexpr,
):
    """y[BLOCK_M rows, BLOCK_N outputs] of program (tile, split of K).

    low_tiles, weight_tiles: TMA descriptors of low and weight, or None: pointers. counts, groups: see carry_groups.
    columns: where K ends in memory, `chunk` of them to a split (a multiple of BLOCK_K). EVEN: BLOCK_K divides all
    chunks. partial, tickets: see arrives_last.
    """
    split = tl.program_id(1)
    row_tiles, column_tiles = (capacity + BLOCK_M - 1) // BLOCK_M, (outputs + BLOCK_N - 1) // BLOCK_N
    row_tile, tile = tile_of(tl.program_id(0), row_tiles, column_tiles, 8)
    first = row_tile * BLOCK_M
    count = tl.load(rows)
    if first < count:
        m, n = first + tl.arange(0, BLOCK_M), tile * BLOCK_N + tl.arange(0, BLOCK_N)
        # Rows and outputs that do not exist are computed from ones that do and not stored: cheaper than masks.
        source = tl.minimum(m, capacity - 1).to(tl.int64)[:, None]
        weights = weight + tl.minimum(n, outputs - 1).to(tl.int64)[:, None] * weight_stride
        sums = tl.full((BLOCK_M, BLOCK_N), 0, tl.int32)

        carrying = tl.load(counts + row_tile)
        listed = groups + row_tile.to(tl.int64) * group_count
        STEP: tl.constexpr = CARRY_K // GROUP
        lane = tl.arange(0, CARRY_K)
        for start in tl.range(split * STEP, carrying, SPLITS * STEP):
            entry = start + lane // GROUP
            present = entry < carrying
            group = tl.load(listed + entry, mask=present, other=0)
            k = group * GROUP + lane % GROUP
            k = tl.max_contiguous(tl.multiple_of(k, GROUP), GROUP)[None, :]
            w = tl.load(weights + k) if EVEN else tl.load(weights + k, mask=k < columns, other=0)
            h = tl.load(high + source * high_stride + k, mask=present[None, :], other=0)
            sums = tl.dot(h, w.T, sums, out_dtype=tl.int32)
        sums = sums * 255

        begin = split * chunk
        end = tl.minimum(begin + chunk, columns)
        if low_tiles is not None:
            for k in tl.range(begin, end, BLOCK_K):
                sums = tl.dot(
                    low_tiles.load([first, k]), weight_tiles.load([tile * BLOCK_N, k]).T, sums, out_dtype=tl.int32
                )
        else:
            k = begin + tl.arange(0, BLOCK_K)
            digits = low + source * low_stride + k[None, :]
            weights += k[None, :]
            for start in tl.range(begin, end, BLOCK_K):
                if EVEN:
                    d = tl.load(digits)
                    w = tl.load(weights)
                else:
                    inside = (start + tl.arange(0, BLOCK_K) < columns)[None, :]
                    d = tl.load(digits, mask=inside, other=0)
                    w = tl.load(weights, mask=inside, other=0)
                sums = tl.dot(d, w.T, sums, out_dtype=tl.int32)
                digits += BLOCK_K
                weights += BLOCK_K

        if SPLITS == 1 and step is None:
            store_outputs(sums, m[:, None], n[None, :], None, count, step, bias, y, y_stride, outputs)
        elif SPLITS == 1:
            # In two halves: factors and biases of all columns, beside the sums, would take all registers.
            HALF: tl.constexpr = BLOCK_N // 2
            halves = tl.permute(tl.reshape(sums, (BLOCK_M, 2, HALF)), (0, 2, 1))
            left, right = tl.split(halves)
            n = tile * BLOCK_N + tl.arange(0, HALF)
            factor = column_factors(scale, n, outputs)[None, :]
            store_outputs(left, m[:, None], n[None, :], factor, count, step, bias, y, y_stride, outputs)
            n += HALF
            factor = column_factors(scale, n, outputs)[None, :]
            store_outputs(right, m[:, None], n[None, :], factor, count, step, bias, y, y_stride, outputs)
        else:
            index = row_tile * column_tiles + tile
            factor = column_factors(scale, n, outputs)[None, :]
            if arrives_last(sums, partial, tickets + index, index, split, SPLITS):
                STRIP: tl.constexpr = min(BLOCK_M, 2048 // BLOCK_N)
                for start in tl.range(0, BLOCK_M, STRIP):
                    part = sum_of_splits(partial, index, start, SPLITS, STRIP, BLOCK_M, BLOCK_N)
                    strip = (first + start + tl.arange(0, STRIP))[:, None]
                    store_outputs(part, strip, n[None, :], factor, count, step, bias, y, y_stride, outputs)
