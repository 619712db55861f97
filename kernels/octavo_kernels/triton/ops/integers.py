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
    step = tl.div_rn(unit, tl.zeros_like(unit) + LEVELS)
    if last > 0:
        good_of, factor = tl.expand_dims(good, last), tl.expand_dims(factor, last)
    else:
        good_of = good
    return numbers.rint_to_int(tl.where(good_of, x, 0.0) * factor), tl.where(good, step, float("nan"))
