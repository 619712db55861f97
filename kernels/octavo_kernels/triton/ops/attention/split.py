"""Attention of few queries: blocks of 128 keys are programs of their own, and a second launch joins them in order."""

from __future__ import annotations

import triton
import triton.language as tl

from ..dependent import follow
from .block import (
    block_offsets,
    first_seen,
    last_not_above,
    last_seen,
    load_queries,
    load_steps,
    rescaling,
    weigh_block,
    weighted_values,
)
from .digits import load_keys, load_values


@triton.jit
def query_of_row(starts, lengths, sequences, t):
    """The sequence of query row t, its length, and the query's position in it."""
    b = last_not_above(starts, tl.load(sequences), t, 1, 0)
    length = tl.load(lengths + b)
    return b, length, length - (tl.load(starts + b + 1) - t)


@triton.jit
def attend_blocks(
    q, keys, values, steps, pages, lengths, starts, slopes, bias, exponents, powers, totals, outputs,
    rows, sequences, q_stride, pages_stride, page_stride, steps_stride, reach, scale, softcap,
    PARTS: tl.constexpr, GROUP: tl.constexpr, M: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    LEVELS: tl.constexpr, BITS: tl.constexpr, WIDE: tl.constexpr, ONE_SUM: tl.constexpr, ASM: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Program (part, block, query row): what a block gives to the GROUP query heads of a part; those of a kv head are
    PARTS parts.

    exponents (NaN where the row is), powers, totals [T, heads, blocks], outputs [T, heads, blocks, D]: e, k, L and O of
    docs/numerics.md; left alone where nothing is seen.
    """
    follow(DEPENDENT)
    head = tl.program_id(0) // PARTS
    block = tl.program_id(1)
    t = tl.program_id(2)
    if t < tl.load(rows):
        b, length, position = query_of_row(starts, lengths, sequences, t)
        first = first_seen(position, WINDOW) // 128
        last = last_seen(position, length, CAUSAL, WINDOW) // 128
        if (first <= block) & (block <= last):
            m = tl.arange(0, M)
            real = m < GROUP
            h = tl.program_id(0) * GROUP + m % GROUP
            high, low, step = load_queries(q + t.to(tl.int64) * q_stride + h * D, real, M, LEVELS, D, BLOCK_D, WIDE)
            slope = step
            if slopes is not None:
                slope = tl.load(slopes + h)
            rows_of_bias = h
            if bias is not None:
                rows_of_bias = bias + h * reach
            # All is asked for at once.
            table = pages + b.to(tl.int64) * pages_stride
            offsets = block_offsets(table, block, length - 1, head, page_stride, D)
            block_keys = load_keys(keys, offsets, D, BLOCK_D)
            block_values = load_values(values, offsets, D, BLOCK_D)
            key_steps, value_steps = load_steps(steps, table, block, length - 1, head, steps_stride)
            e, sums, k, levels, wrong, _ = weigh_block(
                high, low, step, block_keys, key_steps, value_steps,
                block, position + m * 0, length, slope, rows_of_bias, reach, scale, softcap,
                BLOCK_D, BITS, WIDE, ONE_SUM, ASM, CAUSAL, WINDOW, SOFTCAP, slopes is not None, bias is not None, True,
            )  # fmt: skip
            part = (t.to(tl.int64) * tl.num_programs(0) * GROUP + h) * tl.num_programs(1) + block
            tl.store(exponents + part, tl.where(wrong | (step != step), float("nan"), e), mask=real)
            tl.store(powers + part, k, mask=real)
            tl.store(totals + part, sums, mask=real)
            output = weighted_values(levels, block_values, M, BLOCK_D, WIDE, ASM)
            d = tl.arange(0, BLOCK_D)[None, :]
            tl.store(outputs + part[:, None] * D + d, output, mask=real[:, None] & (d < D))


@triton.jit
def join_blocks(
    exponents, powers, totals, outputs, lengths, starts, y, rows, sequences, y_stride, blocks,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BITS: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
    DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Program (query head, query row): its blocks in ascending order. What they give is as in `attend_blocks`."""
    follow(DEPENDENT)
    h = tl.program_id(0)
    t = tl.program_id(1)
    if t < tl.load(rows):
        _, length, position = query_of_row(starts, lengths, sequences, t)
        part = (t * tl.num_programs(0) + h).to(tl.int64) * blocks
        begin = first_seen(position, WINDOW) // 128
        end = last_seen(position, length, CAUSAL, WINDOW) // 128 + 1
        d = tl.arange(0, BLOCK_D)
        output = tl.zeros((BLOCK_D,), tl.float32)
        total, exponent, wrong = 0.0, -float("inf"), 0
        for block in tl.range(begin, end, loop_unroll_factor=4):
            e = tl.load(exponents + part + block)
            k = tl.load(powers + part + block)
            sums = tl.load(totals + part + block).to(tl.float32)
            of_block = tl.load(outputs + (part + block) * D + d, mask=d < D, other=0).to(tl.float32)
            wrong |= (e != e).to(tl.int32)
            larger = tl.maximum(exponent, e)
            old, own, factor = rescaling(exponent, larger, e, k, BITS)
            total = tl.fma(sums, own * (1.0 / 65536), total * old)
            output = tl.fma(of_block, tl.zeros((BLOCK_D,), tl.float32) + factor, output * old)
            exponent = larger
        result = tl.div_rn(output, tl.zeros((BLOCK_D,), tl.float32) + total)
        result = tl.where(wrong > 0, float("nan"), result)
        tl.store(y + t.to(tl.int64) * y_stride + h * D + d, result, mask=d < D)
