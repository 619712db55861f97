"""Attention of many queries: tiles of a sequence's queries, two passes over their keys, first the chunks' maxima."""

from __future__ import annotations

import triton
import triton.language as tl

from ...numbers import exp, lane_tree
from .block import (
    add_lanes,
    add_seen_values,
    add_values,
    largest,
    last_not_above,
    page_offsets,
    scores,
    visible_keys,
    weights,
)


@triton.jit
def attend_tiles(
    q,
    keys,
    values,
    pages,
    lengths,
    starts,
    slopes,
    maxima,
    y,
    sequences,
    q_stride,
    pages_stride,
    page_stride,
    y_stride,
    chunks,
    scale,
    softcap,
    GROUP: tl.constexpr,
    QUERIES: tl.constexpr,
    D: tl.constexpr,
    WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    STEP: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Program (tile, kv head): row r of M is query r // GROUP of the tile's QUERIES, query head r % GROUP.

    Sequence b's tiles are numbered from starts[b] // QUERIES + b on: that leaves room for all of them, and the numbers
    between are nobody's. maxima [tiles, kvHeads, chunks, M].
    """
    tile = tl.program_id(0)
    head = tl.program_id(1)
    b = last_not_above(starts, tl.load(sequences), tile, QUERIES, 1)
    start_row = tl.load(starts + b)
    end_row = tl.load(starts + b + 1)
    first_row = start_row + (tile - (start_row // QUERIES + b)) * QUERIES
    if first_row < end_row:
        m = tl.arange(0, M)
        t = first_row + m // GROUP
        real = (m < QUERIES * GROUP) & (t < end_row)
        last_row = tl.minimum(first_row + QUERIES, end_row) - 1
        before = tl.load(lengths + b) - end_row
        # Rows that are not real see what the last real ones see.
        query = tl.minimum(t, last_row) + before
        end = last_row + before + 1
        begin = 0
        if WINDOW > 0:
            begin = tl.maximum(first_row + before - WINDOW + 1, 0)
        h = head * GROUP + m % GROUP
        q_rows = q + t.to(tl.int64) * q_stride + h * D
        slope = tl.zeros((M,), tl.float32)
        if slopes is not None:
            slope = tl.load(slopes + h, mask=real, other=0.0)
        table = pages + b.to(tl.int64) * pages_stride
        head_offset = head * (D * 16)
        parts = maxima + (tile.to(tl.int64) * tl.num_programs(1) + head) * chunks * M + m
        maximum = tl.full((M,), -float("inf"), tl.float32)
        for chunk in tl.range(begin // 256, tl.cdiv(end, 256)):
            of_chunk = tl.full((M,), -float("inf"), tl.float32)
            stop = tl.minimum(chunk * 256 + 256, end)
            for first in tl.range(tl.maximum(begin // N * N, chunk * 256), stop, N):
                key = first + tl.arange(0, N)
                inside = (key >= begin) & (key < end)
                offset = page_offsets(table, key, inside, page_stride, 16) + (head_offset + key % 16)
                score = scores(
                    q_rows, real, keys, offset, inside, key, query, slope, scale, softcap,
                    D, SOFTCAP, slopes is not None, M, N, STEP,
                )  # fmt: skip
                of_chunk = tl.maximum(of_chunk, largest(score, visible_keys(key, query, WINDOW)))
            tl.store(parts + chunk * M, of_chunk)
            maximum = tl.maximum(maximum, of_chunk)
        total = tl.zeros((M,), tl.float32)
        output = tl.zeros((M, BLOCK_D), tl.float32)
        for chunk in tl.range(begin // 256, tl.cdiv(end, 256)):
            # Each thread reads what it wrote.
            of_chunk = tl.load(parts + chunk * M)
            lanes = tl.zeros((M, 16), tl.float32)
            added = tl.zeros((M, BLOCK_D), tl.float32)
            stop = tl.minimum(chunk * 256 + 256, end)
            for first in tl.range(tl.maximum(begin // N * N, chunk * 256), stop, N):
                key = first + tl.arange(0, N)
                inside = (key >= begin) & (key < end)
                page = page_offsets(table, key, inside, page_stride, 16) + head_offset
                score = scores(
                    q_rows, real, keys, page + key % 16, inside, key, query, slope, scale, softcap,
                    D, SOFTCAP, slopes is not None, M, N, STEP,
                )  # fmt: skip
                p = weights(score, visible_keys(key, query, WINDOW), of_chunk)
                lanes = add_lanes(lanes, p, M, N)
                common = first + N <= first_row + before + 1
                if WINDOW > 0:
                    common = common & (first > last_row + before - WINDOW)
                if QUERIES == 1 or common:
                    added = add_values(added, p, values, page + key % 16 * D, inside, D, BLOCK_D)
                else:
                    added = add_seen_values(
                        added, p, values, table, first, end, query, page_stride, head_offset, D, BLOCK_D, N, WINDOW
                    )
            # A chunk that a row sees nothing of has the sum 0, and its weight may be NaN - NaN.
            weight = tl.where(of_chunk == -float("inf"), 0.0, exp(of_chunk - maximum))
            total = tl.fma(weight, lane_tree(lanes, M), total)
            output = tl.fma(tl.broadcast_to(weight[:, None], (M, BLOCK_D)), added, output)
        d = tl.arange(0, BLOCK_D)
        result = tl.div_rn(output, tl.broadcast_to(total[:, None], (M, BLOCK_D)))
        rows = y + t.to(tl.int64) * y_stride + h * D
        tl.store(rows[:, None] + d[None, :], result, mask=real[:, None] & (d < D)[None, :])
