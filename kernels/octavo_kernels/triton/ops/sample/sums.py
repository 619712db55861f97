"""Sums over a row in every backend's order: 512 ids by 16 lanes in float32, then one after the other in float64."""

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
            for i in tl.range(0, tl.minimum(BLOCK, vocabulary), 16):
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
            for i in tl.range(0, tl.minimum(BLOCK, vocabulary), 16):
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
    return largest.to(tl.float64) + log(total)


@triton.jit
def log(x):
    """float64, within 1 ulp, of a positive normal number; NaN otherwise. By the method of FreeBSD's e_log.c (Sun
    Microsystems, freely distributable): x = 2^k (1 + f), s = f / (2 + f), log(1 + f) = f - s (f - R(s^2)).

    tl.log would be the GPU's in one place and numpy's in another.
    """
    bits = x.to(tl.int64, bitcast=True)
    # 1 + f between sqrt(1/2) and sqrt(2).
    shifted = bits + (0x3FF00000 - 0x3FE6A09E << 32)
    k = ((shifted >> 52) - 1023).to(tl.float64)
    f = ((shifted & 0xFFFFFFFFFFFFF) + 0x3FE6A09E00000000).to(tl.float64, bitcast=True) - 1.0
    s = f / (f + 2.0)
    z = s * s
    r = z * 1.479819860511658591e-1 + 1.531383769920937332e-1
    r = z * r + 1.818357216161805012e-1
    r = z * r + 2.222219843214978396e-1
    r = z * r + 2.857142874366239149e-1
    r = z * r + 3.999999999940941908e-1
    r = z * (z * r + 6.666666666666735130e-1)
    half = f * f * 0.5
    value = k * 6.93147180369123816490e-01 - ((half - (s * (half + r) + k * 1.90821492927058770002e-10)) - f)
    return tl.where((x > 0.0) & (x < 1.0e300), value, float("nan"))
