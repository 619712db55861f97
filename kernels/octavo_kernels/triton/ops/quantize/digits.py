"""A row's step, its digits and its table of carries; see reference/quantize.py."""

from __future__ import annotations

import triton
import triton.language as tl

from ... import numbers

_BASE = tl.constexpr(255)
#: Largest magnitude of two digits, and the sum of magnitudes that keeps 254 times it below 2^31.
_LARGEST = tl.constexpr(32512.0)
_LARGEST_SUM = tl.constexpr(8e6)
_SMALLEST_STEP = tl.constexpr(2.0**-126)
_LARGEST_INVERSE = tl.constexpr(2.0**126)
#: Words of a row of the table before its list of groups.
_HEADER = tl.constexpr(4)


@triton.jit
def threshold(squares, absolute, relative, DECOMPOSE: tl.constexpr, COLUMNS: tl.constexpr):
    """Elements of at least this magnitude are outliers. `squares`: the row's sum of squares, for "adaptive" alone."""
    if DECOMPOSE == "adaptive":
        limit = tl.sqrt_rn(tl.div_rn(squares, COLUMNS * 1.0)) * relative
        # 0 * Inf is NaN and has no inliers; a minimum would drop it.
        return tl.where(limit >= absolute, absolute, limit)
    else:
        return absolute


@triton.jit
def largest_inlier(x, limit):
    """Bits of the largest magnitude below the threshold; 0 without one."""
    bits = numbers.magnitude_bits(x)
    return tl.max(tl.where(tl.abs(x) < limit, bits, 0), axis=None)


@triton.jit
def row_scale(largest_bits, total, inlier_bits):
    """From the bits of the largest magnitude, the sum of magnitudes and the bits of the largest inlier:
    (step, inverse, usable, finite). `inverse` is anything in a row that is not usable: of zeros, or not finite."""
    largest = largest_bits.to(tl.float32, bitcast=True)
    inlier = inlier_bits.to(tl.float32, bitcast=True)
    finite = (largest_bits < numbers.NOT_FINITE) & (numbers.magnitude_bits(total) < numbers.NOT_FINITE)
    usable = finite & (largest_bits > 0)
    step = tl.maximum(tl.div_rn(inlier, 127.0), tl.div_rn(largest, _LARGEST))
    step = tl.maximum(step, tl.maximum(tl.div_rn(total, _LARGEST_SUM), _SMALLEST_STEP))
    # Not 1 / step: each bound's own inverse keeps both digits in -127..127.
    inverse = tl.minimum(tl.div_rn(127.0, inlier), tl.div_rn(_LARGEST, largest))
    inverse = tl.minimum(inverse, tl.minimum(tl.div_rn(_LARGEST_SUM, total), _LARGEST_INVERSE))
    return tl.where(usable, step, tl.where(finite, 0.0, float("nan"))), inverse, usable, finite


@triton.jit
def write_digits(
    x, first_block, inverse, usable, low, high, carries, listed, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr
):
    """The digits of a tile to `low` and `high`, its groups with a carry to the list of `carries`, after `listed` ones.

    Returns its part of the table's header, int32 [4]: groups, sum of low, sum of high, elements with a carry.
    """
    scaled = tl.where(usable, x * inverse, 0.0)
    # v / 255 is never near a tie, 255 being odd, so that a product with the inverse rounds to the same integer.
    second = numbers.rint_to_int(numbers.rint(scaled) * (1.0 / _BASE))
    first = numbers.rint_to_int(scaled) - _BASE * second
    _store_digits(low, first_block, first, COLUMNS, BLOCKS)
    _store_digits(high, first_block, second, COLUMNS, BLOCKS)
    carry = (second != 0).to(tl.int32)
    groups = _write_groups(carry, first_block, carries + _HEADER + listed, BLOCKS)
    # Sums of blocks first, which stay in a warp; then all four at once.
    word = tl.arange(0, 4)[None, :]
    header = tl.where(word == 0, groups[:, None], tl.sum(tl.sum(first, axis=2), axis=1)[:, None])
    header = tl.where(word == 2, tl.sum(tl.sum(second, axis=2), axis=1)[:, None], header)
    header = tl.where(word == 3, tl.sum(tl.sum(carry, axis=2), axis=1)[:, None], header)
    return tl.sum(header, axis=0)


@triton.jit
def _store_digits(row, first_block, digits, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr):
    """As [BLOCKS, 64]: in the shape of the tile 16 digits for each thread would have it hold 16 numbers that are
    neighbours, where `numbers.block_sum` wants the four vectors of a block."""
    flat = tl.reshape(digits.to(tl.int8), (BLOCKS, 64))
    block = first_block + tl.arange(0, BLOCKS)[:, None]
    place = row + block * 64 + tl.arange(0, 64)[None, :]
    if COLUMNS % (BLOCKS * 64) == 0:
        tl.store(place, flat)
    else:
        tl.store(place, flat, mask=block * 64 < COLUMNS)


@triton.jit
def _write_groups(carry, first_block, groups, BLOCKS: tl.constexpr):
    """carry [BLOCKS, 4, 16], 0 or 1 -> groups of 4 columns with one in each block, [BLOCKS]; their indices to `groups`,
    ascending."""
    group = tl.max(tl.reshape(carry, (BLOCKS, 4, 4, 4)), axis=3)
    place = tl.arange(0, 4)[None, :, None] * 4 + tl.arange(0, 4)[None, None, :]
    # The 16 groups of a block as bits, which one thread lists. They go through the scan unchanged, to be where its
    # result is.
    bits = tl.sum(tl.sum(group << place, axis=2), axis=1)
    count = _ones(bits)
    upto, bits = tl.associative_scan((count, bits), 0, _count_before)
    target = groups + upto - _ones(bits)
    index = (first_block + tl.arange(0, BLOCKS)) * 16
    for place in tl.static_range(16):
        listed = (bits >> place) & 1
        tl.store(target, index + place, mask=listed > 0)
        target += listed
    return count


@triton.jit
def _count_before(a, a_bits, b, b_bits):
    return a + b, b_bits


@triton.jit
def _ones(x):
    """How many of the low 16 bits are set."""
    x = x - ((x >> 1) & 0x5555)
    x = (x & 0x3333) + ((x >> 2) & 0x3333)
    x = (x + (x >> 4)) & 0x0F0F
    return (x + (x >> 8)) & 0x1F


@triton.jit
def write_header(carries, counters, header, finite):
    """The first words of a row's table, and what a step counts."""
    word = tl.arange(0, 4)
    tl.store(carries + word, header)
    tl.atomic_add(counters + word * 0, header.to(tl.int64), mask=(word == 3) & (header > 0), sem="relaxed")
    if finite == 0:
        tl.atomic_add(counters + 1, tl.full((), 1, tl.int64), sem="relaxed")
