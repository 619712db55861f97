"""Attention of tiles of a sequence's queries: a program visits the blocks of its keys in ascending order."""

from __future__ import annotations

import triton
import triton.language as tl

from .block import (
    block_offsets,
    first_seen,
    last_not_above,
    last_seen,
    load_queries,
    load_steps,
    rescaling,
    unmasked,
    weigh_block,
    weighted_values,
)
from .digits import load_keys, load_values


@triton.jit
def attend_tiles(
    q, keys, values, steps, pages, lengths, starts, slopes, bias, y,
    sequences, q_stride, pages_stride, page_stride, steps_stride, y_stride, reach, scale, softcap,
    PARTS: tl.constexpr, GROUP: tl.constexpr, QUERIES: tl.constexpr, M: tl.constexpr,
    D: tl.constexpr, BLOCK_D: tl.constexpr,
    LEVELS: tl.constexpr, BITS: tl.constexpr, WIDE: tl.constexpr, ONE_SUM: tl.constexpr, ASM: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr,
):  # fmt: skip
    """Program (part, tile): row r of M is query r // GROUP of the tile's QUERIES, query head r % GROUP of the part; the
    query heads of a kv head are PARTS parts.

    Sequence b's tiles are numbered from starts[b] // QUERIES + b on: that leaves room for all of them, and the numbers
    between are nobody's. The last ones, which mostly see most, come first.
    """
    head = tl.program_id(0) // PARTS
    tile = tl.num_programs(1) - 1 - tl.program_id(1)
    b = last_not_above(starts, tl.load(sequences), tile, QUERIES, 1)
    start_row = tl.load(starts + b)
    end_row = tl.load(starts + b + 1)
    first_row = start_row + (tile - (start_row // QUERIES + b)) * QUERIES
    if first_row < end_row:
        m = tl.arange(0, M)
        t = first_row + m // GROUP
        real = (m < QUERIES * GROUP) & (t < end_row)
        length = tl.load(lengths + b)
        before = length - end_row
        first_query = first_row + before
        last_query = tl.minimum(first_row + QUERIES, end_row) - 1 + before
        # Rows that are not real see what the last real ones see.
        query = tl.minimum(t + before, last_query)
        h = tl.program_id(0) * GROUP + m % GROUP
        rows = q + t.to(tl.int64) * q_stride + h * D
        high, low, step = load_queries(rows, real, M, LEVELS, D, BLOCK_D, WIDE)
        slope = step
        if slopes is not None:
            slope = tl.load(slopes + h)
        rows_of_bias = h
        if bias is not None:
            rows_of_bias = bias + h * reach
        output = tl.zeros((M, BLOCK_D), tl.float32)
        total = tl.zeros((M,), tl.float32)
        exponent = tl.full((M,), -float("inf"), tl.float32)
        bad = (step != step).to(tl.int32)

        begin = first_seen(first_query, WINDOW) // 128
        end = last_seen(last_query, length, CAUSAL, WINDOW) // 128 + 1
        # Of a window each block may have keys that some row does not see.
        common = begin
        if WINDOW == 0:
            common = unmasked(last_seen(first_query, length, CAUSAL, WINDOW), step, scale)
            for block in tl.range(begin, common):
                output, total, exponent, bad = visit_block(
                    output, total, exponent, bad, high, low, step, block, query, length, slope, rows_of_bias,
                    keys, values, steps, pages + b.to(tl.int64) * pages_stride, head,
                    page_stride, steps_stride, reach, scale, softcap,
                    M, D, BLOCK_D, BITS, WIDE, ONE_SUM, ASM,
                    CAUSAL, WINDOW, SOFTCAP, slopes is not None, bias is not None, False,
                )  # fmt: skip
        for block in tl.range(common, end):
            output, total, exponent, bad = visit_block(
                output, total, exponent, bad, high, low, step, block, query, length, slope, rows_of_bias,
                keys, values, steps, pages + b.to(tl.int64) * pages_stride, head,
                page_stride, steps_stride, reach, scale, softcap,
                M, D, BLOCK_D, BITS, WIDE, ONE_SUM, ASM,
                CAUSAL, WINDOW, SOFTCAP, slopes is not None, bias is not None, True,
            )  # fmt: skip
        d = tl.arange(0, BLOCK_D)
        result = tl.div_rn(output, tl.broadcast_to(total[:, None], (M, BLOCK_D)))
        result = tl.where(bad[:, None] > 0, float("nan"), result)
        places = y + t.to(tl.int64) * y_stride + h * D
        tl.store(places[:, None] + d[None, :], result, mask=real[:, None] & (d < D)[None, :])


@triton.jit
def visit_block(
    output, total, exponent, bad, high, low, step, block, query, length, slope, bias,
    keys, values, steps, pages, head, page_stride, steps_stride, reach, scale, softcap,
    M: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    BITS: tl.constexpr, WIDE: tl.constexpr, ONE_SUM: tl.constexpr, ASM: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, BIAS: tl.constexpr,
    MASKED: tl.constexpr,
):  # fmt: skip
    """(output [M, BLOCK_D], total, exponent, bad [M]) with one block more."""
    offsets = block_offsets(pages, block, length - 1, head, page_stride, D)
    key_steps, value_steps = load_steps(steps, pages, block, length - 1, head, steps_stride)
    e, sums, k, levels, wrong, seen = weigh_block(
        high, low, step, load_keys(keys, offsets, D, BLOCK_D), key_steps, value_steps,
        block, query, length, slope, bias, reach, scale, softcap,
        BLOCK_D, BITS, WIDE, ONE_SUM, ASM, CAUSAL, WINDOW, SOFTCAP, ALIBI, BIAS, MASKED,
    )  # fmt: skip
    larger = tl.maximum(exponent, e)
    if MASKED:
        larger = tl.where(seen, larger, exponent)
    old, own, factor = rescaling(exponent, larger, e, k, BITS)
    if MASKED:
        # All sums are 0 then, and x + 0 * -0 is x whatever its sign.
        old = tl.where(seen, old, 1.0)
        own = tl.where(seen, own, -0.0)
        factor = tl.where(seen, factor, -0.0)
    total = tl.fma(sums.to(tl.float32), own * (1.0 / 65536), total * old)
    values_of = weighted_values(levels, load_values(values, offsets, D, BLOCK_D), M, BLOCK_D, WIDE, ASM)
    factors = tl.broadcast_to(factor[:, None], (M, BLOCK_D))
    output = tl.fma(values_of.to(tl.float32), factors, output * old[:, None])
    return output, total, larger, bad | (wrong & seen).to(tl.int32)
