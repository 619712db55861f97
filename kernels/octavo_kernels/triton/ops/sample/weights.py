"""Weights of logits at a temperature, as floats and as integers, and searches by their sums.

The likeliest id has the weight 1. In units of 2^-SHIFT, with SHIFT so that a whole row's sum fits, weights are int64:
sums of any parts in any order are exact, and equal on every machine.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ...numbers import exp
from .ranking import LAST, place_of


@triton.jit
def weight_of(x, temperature, largest):
    """Relative to the largest logit; 0 for NaN."""
    divisor = tl.zeros_like(x) + temperature
    offset = tl.div_rn(tl.zeros_like(x) + largest, divisor)
    return tl.where(x == x, exp(tl.div_rn(x, divisor) - offset), 0.0)


@triton.jit
def units(weight, SHIFT: tl.constexpr):
    """A weight as int64, rounded down; 0 for NaN."""
    known = tl.where(weight == weight, weight, 0.0)
    return (known.to(tl.float64) * (1 << SHIFT)).to(tl.int64)


@triton.jit
def sum_until(
    row, vocabulary, until, least, first, temperature, largest,
    COUNT: tl.constexpr, SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The sum of the weights, of the places that are not behind `until` and have at least the weight `least` or are the
    `first`; with COUNT the number of places that are not behind `until`."""
    total = tl.full((BLOCK,), 0, tl.int64)
    for start in tl.range(0, vocabulary, BLOCK):
        id = start + tl.arange(0, BLOCK)
        x = tl.load(row + id, mask=id < vocabulary, other=-float("inf"))
        place = place_of(x, id)
        counted = (id < vocabulary) & (place <= until)
        if COUNT:
            total += counted.to(tl.int64)
        else:
            weight = weight_of(x, temperature, largest)
            counted = counted & ((weight >= least) | (place == first))
            total += tl.where(counted, units(weight, SHIFT), 0)
    return tl.sum(total, axis=0)


@triton.jit
def search(
    row, vocabulary, beyond, first, temperature, largest,
    COUNT: tl.constexpr, SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first place until which the weights (with COUNT the ids) sum up to more than `beyond`; LAST if none does.

    By halving: some 50 passes over the row. The way for rows whose likely ids are too many to be put in order.
    """
    low = first - 1
    high = LAST + first * 0
    while high - low > 1:
        middle = low + (high - low) // 2
        if sum_until(row, vocabulary, middle, 0.0, first, temperature, largest, COUNT, SHIFT, BLOCK) > beyond:
            high = middle
        else:
            low = middle
    return high
