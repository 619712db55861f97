"""Attention of few queries: chunks of 256 keys are programs of their own, and a second launch joins them in order."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportReturnType=false
from __future__ import annotations

import triton
import triton.language as tl

from ...numbers import exp, lane_tree
from .block import (
    add_lanes,
    add_values,
    largest,
    last_not_above,
    page_offsets,
    scores,
    visible_keys,
    weights,
)


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
    M: tl.constexpr,
    N: tl.constexpr,
    STEP: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Program (chunk, kv head, query row): maximum, sum and output of the kv head's query heads over one chunk.

    maxima, totals [T, kvHeads, chunks, M], outputs [T, kvHeads, chunks, M, D]: left alone where nothing is seen.
    """
    chunk = tl.program_id(0)
    head = tl.program_id(1)
    t = tl.program_id(2)
    if t < tl.load(rows):
        b, position = query_of_row(starts, lengths, sequences, t)
        begin = tl.maximum(chunk * 256, first_visible(position, WINDOW))
        end = tl.minimum(chunk * 256 + 256, position + 1)
        if begin < end:
            m = tl.arange(0, M)
            real = m < GROUP
            query = tl.zeros((M,), tl.int32) + position
            q_rows = q + t.to(tl.int64) * q_stride + (head * GROUP + m) * D
            slope = tl.zeros((M,), tl.float32)
            if slopes is not None:
                slope = tl.load(slopes + head * GROUP + m, mask=real, other=0.0)
            table = pages + b.to(tl.int64) * pages_stride
            head_offset = head * (D * 16)
            # The lanes of a sum are those of the chunk's vectors of 16 keys.
            start = begin // N * N
            maximum = tl.full((M,), -float("inf"), tl.float32)
            for first in tl.range(start, end, N):
                key = first + tl.arange(0, N)
                inside = (key >= begin) & (key < end)
                offset = page_offsets(table, key, inside, page_stride, 16) + (head_offset + key % 16)
                score = scores(
                    q_rows, real, keys, offset, inside, key, query, slope, scale, softcap,
                    D, SOFTCAP, slopes is not None, M, N, STEP,
                )  # fmt: skip
                maximum = tl.maximum(maximum, largest(score, visible_keys(key, query, WINDOW)))
            lanes = tl.zeros((M, 16), tl.float32)
            output = tl.zeros((M, BLOCK_D), tl.float32)
            for first in tl.range(start, end, N):
                key = first + tl.arange(0, N)
                inside = (key >= begin) & (key < end)
                page = page_offsets(table, key, inside, page_stride, 16) + head_offset
                score = scores(
                    q_rows, real, keys, page + key % 16, inside, key, query, slope, scale, softcap,
                    D, SOFTCAP, slopes is not None, M, N, STEP,
                )  # fmt: skip
                p = weights(score, visible_keys(key, query, WINDOW), maximum)
                lanes = add_lanes(lanes, p, M, N)
                output = add_values(output, p, values, page + key % 16 * D, inside, D, BLOCK_D)
            part = ((t * tl.num_programs(1) + head).to(tl.int64) * tl.num_programs(0) + chunk) * M + m
            tl.store(maxima + part, maximum)
            tl.store(totals + part, lane_tree(lanes, M))
            d = tl.arange(0, BLOCK_D)
            tl.store(outputs + part[:, None] * D + d[None, :], output, mask=real[:, None] & (d < D)[None, :])


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
    GROUP: tl.constexpr,
    D: tl.constexpr,
    WINDOW: tl.constexpr,
    M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Program (query head, query row): its chunks in ascending order. Chunks as in `attend_chunks`."""
    h = tl.program_id(0)
    t = tl.program_id(1)
    if t < tl.load(rows):
        _, position = query_of_row(starts, lengths, sequences, t)
        part = ((t * (tl.num_programs(0) // GROUP) + h // GROUP).to(tl.int64) * chunks) * M + h % GROUP
        begin = first_visible(position, WINDOW) // 256
        end = position // 256 + 1
        maximum = tl.load(maxima + part + begin * M)
        for chunk in tl.range(begin + 1, end):
            maximum = tl.maximum(maximum, tl.load(maxima + part + chunk * M))
        d = tl.arange(0, BLOCK_D)
        output = tl.zeros((BLOCK_D,), tl.float32)
        total = 0.0
        for chunk in tl.range(begin, end):
            weight = exp(tl.load(maxima + part + chunk * M) - maximum)
            total = tl.fma(weight, tl.load(totals + part + chunk * M), total)
            of_chunk = tl.load(outputs + (part + chunk * M) * D + d, mask=d < D, other=0.0)
            output = tl.fma(tl.zeros((BLOCK_D,), tl.float32) + weight, of_chunk, output)
        tl.store(y + t.to(tl.int64) * y_stride + h * D + d, tl.div_rn(output, total), mask=d < D)
