"""What attention does with a block of 128 keys; see reference/attention.py.

A block has M rows, each one query head at one query; all are heads of one kv head. Sums inside a block are integers,
exact in any order.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ... import numbers
from ..integers import row_integers
from .digits import digits, digits_of, key_matrix, ordered_columns, ordered_keys, value_matrix

_LOG2_E = tl.constexpr(1.4426950408889634)
#: Levels of the sum of exponentials: this is 1.
_SUM_LEVELS = tl.constexpr(65536.0)
#: Products times their key's step are below 2^75, so that below this factor differences of scores are finite.
_HUGE = tl.constexpr(2.0**51)


@triton.jit
def last_not_above(starts, count, index, TILE: tl.constexpr, EXTRA: tl.constexpr):
    """The last b < count with starts[b] // TILE + b * EXTRA <= index."""
    low = 0
    high = count
    while high - low > 1:
        middle = (low + high) // 2
        if tl.load(starts + middle) // TILE + middle * EXTRA <= index:
            low = middle
        else:
            high = middle
    return low


@triton.jit
def first_seen(position, WINDOW: tl.constexpr):
    """The first key that a query sees."""
    if WINDOW > 0:
        return tl.maximum(position - (WINDOW - 1), 0)
    else:
        return position * 0


@triton.jit
def last_seen(position, length, CAUSAL: tl.constexpr, WINDOW: tl.constexpr):
    """The last key that a query sees."""
    if CAUSAL:
        return position
    elif WINDOW > 0:
        # Not position + WINDOW - 1, which may be beyond int32.
        return tl.minimum(length - 1 - position, WINDOW - 1) + position
    else:
        return position * 0 + (length - 1)


@triton.jit
def load_queries(
    rows, real, M: tl.constexpr, LEVELS: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, WIDE: tl.constexpr
):
    """rows [M]: pointers to rows of q, of which those in `real` are read -> (digits high and low [M, BLOCK_D], step
    [M])."""
    d = tl.arange(0, BLOCK_D)[None, :]
    q = tl.load(rows[:, None] + d, mask=real[:, None] & (d < D), other=0.0)
    integers, step = row_integers(q, LEVELS)
    high, low = digits_of(ordered_columns(integers, M, BLOCK_D), WIDE)
    return high, low, step


@triton.jit
def block_offsets(pages, block, last, head, page_stride, D: tl.constexpr):
    """int64 [8]: where a head of each page of a block begins. Pages beyond the one of key `last` are page 0, of which
    nothing is seen."""
    page = block * 8 + tl.arange(0, 8)
    return tl.load(pages + page, mask=page * 16 <= last, other=0).to(tl.int64) * page_stride + head * (16 * D)


@triton.jit
def load_steps(steps, pages, block, last, head, steps_stride):
    """(of the keys, of the values) [128]. A value's step is NaN if its key's is."""
    n = tl.arange(0, 128)
    key = block * 128 + n
    page = tl.load(pages + key // 16, mask=key <= last, other=0).to(tl.int64)
    at = steps + page * steps_stride + head * 32 + n % 16
    of_key = tl.load(at, mask=key <= last, other=0.0)
    return of_key, tl.load(at + 16, mask=key <= last, other=0.0) + (of_key - of_key)


@triton.jit
def digit_products(high, low, first, second, WIDE: tl.constexpr, ONE_SUM: tl.constexpr):
    """int32: the product of digits [M, K] with digits [K, N], exact; where not WIDE `second` is nothing.

    Tensor cores saturate. Without its last term a sum may be beyond int32: if so (not ONE_SUM) that is added as an
    integer, which takes as many registers again.
    """
    if WIDE:
        total = tl.dot(high, first, out_dtype=tl.int32) * 128
        total = tl.dot(high, second, total, out_dtype=tl.int32)
        total = tl.dot(low, first, total, out_dtype=tl.int32) * 128
        if ONE_SUM:
            return tl.dot(low, second, total, out_dtype=tl.int32)
        else:
            return total + tl.dot(low, second, out_dtype=tl.int32)
    else:
        return tl.dot(low, first, tl.dot(high, first, out_dtype=tl.int32) * 256, out_dtype=tl.int32)


@triton.jit
def products(high, low, keys, BLOCK_D: tl.constexpr, WIDE: tl.constexpr, ONE_SUM: tl.constexpr, ASM: tl.constexpr):
    """[M, 128] int32: q times the keys of a block (`load_keys`), exact."""
    if WIDE:
        first, second = digits(keys, ASM)
        first, second = key_matrix(first, BLOCK_D).T, key_matrix(second, BLOCK_D).T
        return digit_products(high, low, first, second, WIDE, ONE_SUM)
    else:
        return digit_products(high, low, key_matrix(keys, BLOCK_D).T, None, WIDE, ONE_SUM)


@triton.jit
def weighted_values(levels, values, M: tl.constexpr, BLOCK_D: tl.constexpr, WIDE: tl.constexpr, ASM: tl.constexpr):
    """[M, BLOCK_D] int32: the sum of a block's values (`load_values`) times levels [M, 128], exact."""
    high, low = digits_of(ordered_keys(levels, M), WIDE)
    if WIDE:
        first, second = digits(values, ASM)
        first, second = value_matrix(first, BLOCK_D).T, value_matrix(second, BLOCK_D).T
        return digit_products(high, low, first, second, WIDE, True)
    else:
        return digit_products(high, low, value_matrix(values, BLOCK_D).T, None, WIDE, True)


@triton.jit
def exponents(
    product, key_steps, step, visible, distance, slope, bias, reach, scale, softcap,
    SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, BIAS: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """(e [M]: the block's exponent; [M, 128]: the exponentials below 2^e; of which a score is not finite [M]).

    `visible` [M, 128] is looked at where MASKED. `bias` [M]: pointers to rows of `reach` elements.
    """
    y = product.to(tl.float32) * key_steps[None, :]
    if SOFTCAP or ALIBI or BIAS:
        score = y * (step * scale)[:, None]
        if SOFTCAP:
            # score - score: an infinite score would be the cap, which passes for a number.
            capped = softcap * numbers.tanh(tl.div_rn(score, tl.zeros_like(score) + softcap))
            score = capped + (score - score)
        if ALIBI:
            score = score + slope[:, None] * distance.to(tl.float32)
        if BIAS:
            place = tl.minimum(tl.maximum(distance + reach // 2, 0), reach - 1)
            score = score + tl.load(bias[:, None] + place)
        score = score * _LOG2_E
        seen = tl.where(visible & (score == score), score, -float("inf")) if MASKED else score
        e = tl.ceil(tl.max(seen, axis=1))
        x = score - e[:, None]
        wrong = ~numbers.is_finite(x)
        if MASKED:
            wrong = wrong & visible
        bad = tl.max(wrong.to(tl.int32), axis=1) > 0
    else:
        factor = step * (scale * _LOG2_E)
        if MASKED:
            y = tl.where(visible, y, -float("inf"))
        largest = tl.max(y, axis=1)
        top = largest * factor
        e = tl.ceil(top)
        least = tl.broadcast_to((top - e)[:, None], y.shape)
        factors = tl.broadcast_to(factor[:, None], y.shape)
        x = tl.fma(y - largest[:, None], factors, least)
        bad = factor < 0
        if MASKED:  # as all blocks are of which a score may be infinite; see `unmasked`
            lowest = tl.min(tl.where(visible, y, float("inf")), axis=1)
            bad = ~numbers.is_finite(tl.fma(lowest - largest, factor, top - e))
    return e, numbers.exp2_of_negative(x), bad | ~numbers.is_finite(e)


@triton.jit
def unmasked(last, step, scale):
    """How many of the first blocks need no mask, for rows of which the first one sees the keys up to `last`: all their
    keys are seen, and no score is infinite."""
    huge = tl.max((step * (scale * _LOG2_E) >= _HUGE).to(tl.int32), axis=0) > 0
    return tl.where(huge, 0, (last + 1) // 128)


@triton.jit
def levels_of_weights(p, value_steps, visible, BITS: tl.constexpr, MASKED: tl.constexpr):
    """(sum of exponentials [M]; k [M]: weights are below 2^k; their levels [M, 128] int32; which rows have NaN)."""
    if MASKED:
        p = tl.where(visible, p, 0.0)
    total = tl.sum(numbers.fma_to_int(p, tl.full(p.shape, _SUM_LEVELS, tl.float32), tl.zeros_like(p)), axis=1)
    w = p * value_steps[None, :]
    if MASKED:
        w = tl.where(visible, w, 0.0)
    # As integers, of which NaN are the largest.
    largest = tl.max(w.to(tl.int32, bitcast=True), axis=1)
    k = ((largest + 0x7FFFFF) >> 23) - 127
    unit = numbers.power_of_two(BITS - k)
    levels = numbers.fma_to_int(w, tl.broadcast_to(unit[:, None], w.shape), tl.zeros_like(w))
    return total, k, levels, largest >= numbers.NOT_FINITE


@triton.jit
def power_of_exponent(n):
    """2^n of whole numbers up to 127, and not below 2^-126."""
    return numbers.power_of_two(tl.maximum(n, -126.0).to(tl.int32))


@triton.jit
def rescaling(exponent, larger, e, k, BITS: tl.constexpr):
    """Factors when a block with the exponent e and the power k comes to sums with `exponent`, and `larger` is the new
    one: of what was, of the block's sum of exponentials (but 2^-16), and of its weighted values."""
    old, own = power_of_exponent(exponent - larger), power_of_exponent(e - larger)
    return old, own, own * numbers.power_of_two(k - BITS)


@triton.jit
def weigh_block(
    high, low, step, keys, key_steps, value_steps, block, query, length, slope, bias, reach, scale, softcap,
    BLOCK_D: tl.constexpr, BITS: tl.constexpr, WIDE: tl.constexpr, ONE_SUM: tl.constexpr, ASM: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, BIAS: tl.constexpr,
    MASKED: tl.constexpr,
):  # fmt: skip
    """Of a block: exponent, sum of exponentials, k [M], levels of weights [M, 128], which rows are NaN, and which see
    any of it [M]; of the others the rest is anything."""
    key = block * 128 + tl.arange(0, 128)
    distance = key[None, :] - query[:, None]
    first, last = first_seen(query, WINDOW), last_seen(query, length, CAUSAL, WINDOW)
    visible = (key[None, :] >= first[:, None]) & (key[None, :] <= last[:, None])
    product = products(high, low, keys, BLOCK_D, WIDE, ONE_SUM, ASM)
    e, p, bad = exponents(
        product, key_steps, step, visible, distance, slope, bias, reach, scale, softcap, SOFTCAP, ALIBI, BIAS, MASKED
    )
    sums, k, levels, spoilt = levels_of_weights(p, value_steps, visible, BITS, MASKED)
    seen = tl.maximum(first, block * 128) <= tl.minimum(last, block * 128 + 127)
    return e, sums, k, levels, bad | spoilt, seen
