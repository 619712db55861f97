"""Rows of q, k and v as integers times a step of their own; see reference/pages.py."""

from __future__ import annotations

import triton
import triton.language as tl

from .. import numbers

#: A row from 2^50 on counts as not finite; below 2^-60 all of it is 0.
_LARGEST_BITS = tl.constexpr((127 + 50) << 23)
_SMALLEST_BITS = tl.constexpr((127 - 60) << 23)


@triton.jit
def row_integers(x, LEVELS: tl.constexpr):
    """float32 [..., D] -> integers up to LEVELS (< 2^22) [..., D] int32 and the step [...], which is NaN where a row is
    not finite; its integers are 0 then. Of the last axis; what lies beyond a row must be 0."""
    last: tl.constexpr = len(x.shape) - 1
    largest = tl.max(numbers.magnitude_bits(x), axis=last)
    good = largest < _LARGEST_BITS
    bits = tl.maximum(tl.where(good, largest, numbers.ONE_BITS), _SMALLEST_BITS)
    unit = bits.to(tl.float32, bitcast=True)
    factor = tl.where(good, tl.div_rn(tl.zeros_like(unit) + LEVELS, unit), 0.0)
    if last > 0:
        scaled = tl.where(good[:, None], x, 0.0) * factor[:, None]
    else:
        scaled = tl.where(good, x, 0.0) * factor
    step = tl.div_rn(unit, tl.zeros_like(unit) + LEVELS)
    return numbers.rint_to_int(scaled), tl.where(good, step, float("nan"))
