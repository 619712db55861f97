"""Attention of few queries: chunks of 256 keys are programs of their own, and a second launch joins them in order."""

from __future__ import annotations

import triton
import triton.language as tl

from ...numbers import exp, lane_tree, tanh
from ..dependent import follow
from .block import add_lanes, exp_of_finite, last_not_above, page_offsets


@triton.jit
def query_of_row(starts, lengths, sequences, t):
    """The sequence of query row t, and the query's position in it."""
    b = last_not_above(starts, tl.load(sequences), t, 1, 0)
    return b, tl.load(lengths + b) - (tl.load(starts + b + 1) - t)


@triton.jit
def first_visible(position, WINDOW: tl.constexpr):
    """The first key that a query sees."""
    if WINDOW > 0:
        return tl.maximum(position - WINDOW + 1, 0)
    else:
        return position * 0


@triton.jit
def add_page(output, values, weights, begin, end, D: tl.constexpr, BLOCK_D: tl.constexpr, PARTLY: tl.constexpr):
    """[BLOCK_D]: fma(weight, v, output) over a page's keys, ascending; those of [begin, end) where PARTLY."""
    d = tl.arange(0, BLOCK_D)
    for i in tl.static_range(16):
        seen = d < D
        if PARTLY:
            # What is not seen has the weight 0 and gets the value -0: fma(0, -0, output) is the output.
            seen = seen & (i >= begin) & (i < end)
        v = tl.load(values + i * D, mask=seen, other=-0.0).to(tl.float32)
        output = tl.fma(tl.broadcast_to(tl.load(weights + i), (BLOCK_D,)), v, output)
    return output


@triton.jit
def attend_chunks(
    q,
    keys,
    values,
    pages,
    lengths,
    starts,
    slopes,
    maxima,
    totals,
    outputs,
    shared,
    rows,
    sequences,
    q_stride,
    pages_stride,
    page_stride,
    scale,
    softcap,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    BLOCK_D: tl.constexpr,
    DEPENDENT: tl.constexpr,
):
    """Program (query head, chunk, query row): maximum, sum and output over one chunk. Heads of a group follow each
    other, and find what they share in the cache.

    A thread has keys of its own in the scores and elements of its own in the output, so that nothing but the weights
    is exchanged: through `shared`, float32 [T, heads, chunks, 256]. maxima, totals [T, heads, chunks],
    outputs [T, heads, chunks, D] are left alone where nothing is seen.
    """
    follow(DEPENDENT)
    h = tl.program_id(0)
    chunk = tl.program_id(1)
    t = tl.program_id(2)
    if t < tl.load(rows):
        b, position = query_of_row(starts, lengths, sequences, t)
        begin = tl.maximum(chunk * 256, first_visible(position, WINDOW))
        end = tl.minimum(chunk * 256 + 256, position + 1)
        if begin < end:
            part = (t * tl.num_programs(0) + h).to(tl.int64) * tl.num_programs(1) + chunk
            query = q + t.to(tl.int64) * q_stride + h * D
            table = pages + b.to(tl.int64) * pages_stride
            head_offset = h // GROUP * (D * 16)
            n = tl.arange(0, 256)
            key = chunk * 256 + n
            inside = (key >= begin) & (key < end)
            columns = keys + (page_offsets(table, key, inside, page_stride, 16) + (head_offset + key % 16))
            chain = tl.zeros((256,), tl.float32)
            for d in tl.range(0, D, loop_unroll_factor=8):
                k = tl.load(columns + d * 16, mask=inside, other=0.0).to(tl.float32)
                chain = tl.fma(tl.broadcast_to(tl.load(query + d), (256,)), k, chain)
            score = scale * chain
            if SOFTCAP:
                score = softcap * tanh(tl.div_rn(score, softcap)) + (score - score)  # see `scores`
            if slopes is not None:
                score = score + tl.load(slopes + h) * (key - position).to(tl.float32)
            # NaN is no maximum, and comes back through exp.
            maximum = tl.max(tl.where(inside & (score == score), score, -float("inf")), axis=0)
            p = tl.where(inside, exp_of_finite(score - maximum), 0.0)
            # The lanes of a sum are those of the chunk's vectors of 16 keys.
            lanes = add_lanes(tl.zeros((1, 16), tl.float32), tl.reshape(p, (1, 256)), 1, 256)
            tl.store(maxima + part, maximum)
            tl.store(totals + part + tl.arange(0, 1), lane_tree(lanes, 1))
            weights = shared + part * 256
            tl.store(weights + n, p)
            tl.debug_barrier()
            d = tl.arange(0, BLOCK_D)
            row = values + (head_offset + d)
            output = tl.zeros((BLOCK_D,), tl.float32)
            full = end // 16 * 16
            first = begin
            if WINDOW > 0:
                first = tl.cdiv(begin, 16) * 16
                if begin < first:
                    at = row + tl.load(table + begin // 16).to(tl.int64) * page_stride
                    output = add_page(
                        output,
                        at,
                        weights + begin // 16 * 16 % 256,
                        begin % 16,
                        end - begin // 16 * 16,
                        D,
                        BLOCK_D,
                        True,
                    )
            for key in tl.range(first, full, 16):
                at = row + tl.load(table + key // 16).to(tl.int64) * page_stride
                output = add_page(output, at, weights + key % 256, 0, 16, D, BLOCK_D, False)
            if first <= full and full < end:
                at = row + tl.load(table + full // 16).to(tl.int64) * page_stride
                output = add_page(output, at, weights + full % 256, 0, end - full, D, BLOCK_D, True)
            tl.store(outputs + part * D + d, output, mask=d < D)


@triton.jit
def join_chunks(
    maxima,
    totals,
    outputs,
    lengths,
    starts,
    y,
    rows,
    sequences,
    y_stride,
    chunks,
    D: tl.constexpr,
    WINDOW: tl.constexpr,
    BLOCK_D: tl.constexpr,
    DEPENDENT: tl.constexpr,
):
    """Program (query head, query row): its chunks in ascending order. Chunks as in `attend_chunks`."""
    follow(DEPENDENT)
    h = tl.program_id(0)
    t = tl.program_id(1)
    if t < tl.load(rows):
        _, position = query_of_row(starts, lengths, sequences, t)
        part = (t * tl.num_programs(0) + h).to(tl.int64) * chunks
        begin = first_visible(position, WINDOW) // 256
        end = position // 256 + 1
        maximum = tl.load(maxima + part + begin)
        for chunk in tl.range(begin + 1, end):
            maximum = tl.maximum(maximum, tl.load(maxima + part + chunk))
        d = tl.arange(0, BLOCK_D)
        output = tl.zeros((BLOCK_D,), tl.float32)
        total = 0.0
        for chunk in tl.range(begin, end):
            weight = exp(tl.load(maxima + part + chunk) - maximum)
            total = tl.fma(weight, tl.load(totals + part + chunk), total)
            of_chunk = tl.load(outputs + (part + chunk) * D + d, mask=d < D, other=0.0)
            output = tl.fma(tl.zeros((BLOCK_D,), tl.float32) + weight, of_chunk, output)
        tl.store(y + t.to(tl.int64) * y_stride + h * D + d, tl.div_rn(output, total), mask=d < D)
