"""Sums over a row in the order of every backend: 512 ids by 16 lanes in float32, these sums one after the other in float64."""

# pyright: basic, reportIndexIssue=false
from __future__ import annotations

import triton
import triton.language as tl

from ...numbers import exp, lane_tree
from .ranking import first_place, logit_at
from .weights import weight_of

#: Ids of a block: 32 vectors of 16.
BLOCK = tl.constexpr(512)


@triton.jit
def sum_blocks(
    logits,
    adjusted,
    settings,
    counters,
    bests,
    raw_bests,
    weight_sums,
    kept_sums,
    exp_sums,
    rows,
    logits_stride,
    settings_stride,
    counters_stride,
    vocabulary,
    blocks,
    COUNT: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """Program (COUNT blocks, row): sums [S, blocks] of weights, of those from min-p on, and of exp(logit - largest)."""
    s = tl.program_id(1)
    if s < tl.load(rows):
        block = tl.program_id(0) * COUNT + tl.arange(0, COUNT)
        at = s * blocks + block
        id = block[:, None] * BLOCK + tl.arange(0, 16)[None, :]
        temperature = tl.load(settings + s * settings_stride)
        if temperature != 0:
            row = adjusted + s.to(tl.int64) * vocabulary
            min_p = tl.load(settings + s * settings_stride + 2)
            largest = logit_at(first_place(bests + s * blocks, blocks, BLOCKS))
            total = tl.zeros((COUNT, 16), tl.float32)
            kept = tl.zeros((COUNT, 16), tl.float32)
            for i in tl.range(0, BLOCK, 16):
                x = tl.load(row + (id + i), mask=id + i < vocabulary, other=-float("inf"))
                weight = weight_of(x, temperature, largest)
                total = total + weight
                kept = kept + tl.where(weight >= min_p, weight, 0.0)
            tl.store(weight_sums + at, lane_tree(total, COUNT), mask=block < blocks)
            tl.store(kept_sums + at, lane_tree(kept, COUNT), mask=block < blocks)
        if tl.load(counters + s * counters_stride + 4) >= 0:
            row = logits + s.to(tl.int64) * logits_stride
            largest = logit_at(first_place(raw_bests + s * blocks, blocks, BLOCKS))
            total = tl.zeros((COUNT, 16), tl.float32)
            for i in tl.range(0, BLOCK, 16):
                x = tl.load(row + (id + i), mask=id + i < vocabulary, other=-float("inf"))
                total = total + exp(x - largest)
            tl.store(exp_sums + at, lane_tree(total, COUNT), mask=block < blocks)


@triton.jit
def sum_in_order(sums, count):
    """float64 scalar: one after the other, as the other backends add them."""
    total = tl.load(sums).to(tl.float64)
    for i in tl.range(1, count):
        total += tl.load(sums + i).to(tl.float64)
    return total


@triton.jit
def log_of_sum(largest, total):
    """float64: log(sum(exp(row))) of a row's largest logit and its sum of exp(logit - largest)."""
    return largest.to(tl.float64) + tl.log(total)
