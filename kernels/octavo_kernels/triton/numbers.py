"""The arithmetic that definitions are made of, on the device: reference/numbers.py and functions.py bit for bit.

Kernels are compiled without fusion of multiplications and additions, so that fma stands only where it is written.
Division and square root are `tl.div_rn` and `tl.sqrt_rn`, the correctly rounded ones: `/` and tl.sqrt are not.
"""

# pyright: basic, reportArgumentType=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

#: 1.5 * 2^23. A float32 of magnitude below 2^22 that is added to it is rounded to an integer, nearest even, and the
#: low bits of the sum are that integer's.
_ROUNDER = tl.constexpr(12582912.0)
_ROUNDER_BITS = tl.constexpr(0x4B400000)
_MAGNITUDE_BITS = tl.constexpr(0x7FFFFFFF)
#: Bits of infinity: magnitudes from here on are Inf and NaN.
NOT_FINITE = tl.constexpr(0x7F800000)

#: Bits of 1.
ONE_BITS = tl.constexpr(0x3F800000)

LANES = tl.constexpr(16)
#: Columns of a block of `row_sum`.
BLOCK = tl.constexpr(64)


@triton.jit
def rint(x):
    """Nearest integer, ties to even, of |x| < 2^22; -0 becomes 0."""
    return (x + _ROUNDER) - _ROUNDER


@triton.jit
def rint_to_int(x):
    """As `rint`, to int32, without the slow conversion."""
    return (x + _ROUNDER).to(tl.int32, bitcast=True) - _ROUNDER_BITS


@triton.jit
def magnitude_bits(x):
    """Bits of |x|, int32. They are ordered as the magnitudes are, Inf and NaN last: a maximum that NaN cannot spoil."""
    return x.to(tl.int32, bitcast=True) & _MAGNITUDE_BITS


@triton.jit
def is_finite(x):
    return magnitude_bits(x) < NOT_FINITE


@triton.jit
def power_of_two(n):
    """2^n of int32 in -126..127."""
    return ((n + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def exp(x):
    """e^x: 2^n times a polynomial (Cephes) in x - n ln 2."""
    number = x == x
    clamped = tl.where(number, tl.minimum(tl.maximum(tl.where(number, x, 0.0), -87.5), 89.0), 0.0)
    n = rint(clamped * 1.44269504088896341)
    r = tl.fma(-n, -2.12194440e-4, tl.fma(-n, 0.693359375, clamped))
    y = tl.fma(r, 1.9875691500e-4, 1.3981999507e-3)
    y = tl.fma(y, r, 8.3334519073e-3)
    y = tl.fma(y, r, 4.1665795894e-2)
    y = tl.fma(y, r, 1.6666665459e-1)
    y = tl.fma(y, r, 5.0000001201e-1)
    y = tl.fma(y, r * r, r) + 1.0
    exponent = n.to(tl.int32)
    half = exponent >> 1  # in two factors, for 2^128 is not a float
    scaled = y * power_of_two(half) * power_of_two(exponent - half)
    return tl.where(number, tl.where(x < -87.3, 0.0, scaled), x)


@triton.jit
def exp2_of_negative(x):
    """2^x of x <= 0, which counts as -125 below that: a polynomial of degree 4 in x - rint(x), times 2^rint(x). What it
    makes of NaN is a number."""
    x = tl.maximum(x, -125.0)
    shifted = x + _ROUNDER
    f = x - (shifted - _ROUNDER)
    y = tl.fma(f, 9.582852944731712e-3, 5.5906426161527634e-2)
    y = tl.fma(y, f, 2.4024099111557007e-1)
    y = tl.fma(y, f, 6.931241750717163e-1)
    y = tl.fma(y, f, 1.0)
    # Times 2^n, by way of the exponent: y is at least 0.7, so that nothing is subnormal.
    return (y.to(tl.int32, bitcast=True) + (shifted.to(tl.int32, bitcast=True) << 23)).to(tl.float32, bitcast=True)


@triton.jit
def fma_to_int(a, b, c):
    """rint(a * b + c) to int32, for |a * b + c| < 2^22 and integers c: one rounding."""
    return tl.fma(a, b, c + _ROUNDER).to(tl.int32, bitcast=True) - _ROUNDER_BITS


@triton.jit
def tanh(x):
    """A polynomial (Cephes) below 0.625, above it 1 - 2 / (e^2|x| + 1)."""
    a = tl.abs(x)
    square = x * x
    y = tl.fma(square, -5.70498872745e-3, 2.06390887954e-2)
    y = tl.fma(y, square, -5.37397155531e-2)
    y = tl.fma(y, square, 1.33314422036e-1)
    y = tl.fma(y, square, -3.33332819422e-1)
    small = tl.fma(y * square, x, x)
    large = 1.0 - tl.div_rn(2.0, exp(a + a) + 1.0)
    return tl.where(a < 0.625, small, tl.where(x < 0.0, -large, large))


@triton.jit
def erfc_of_positive(a):
    """1 - erf(a) for a >= 0 (Cephes): a polynomial below 1, above it e^-a^2 / a times one in 1 / a^2."""
    square = a * a
    y = tl.fma(square, 7.853861353153693e-5, -8.010193625184903e-4)
    y = tl.fma(y, square, 5.188327685732524e-3)
    y = tl.fma(y, square, -2.685381193529856e-2)
    y = tl.fma(y, square, 1.128358514861418e-1)
    y = tl.fma(y, square, -3.761262582423300e-1)
    y = tl.fma(y, square, 1.128379165726710e0)
    near = tl.fma(-a, y, 1.0)

    safe = tl.where(a < 1.0, 1.0, a)  # keeps NaN, which a maximum would drop
    inverse = tl.div_rn(1.0, safe)
    square = inverse * inverse
    y = tl.fma(square, 2.326819970068386e-2, -1.387039388740657e-1)
    y = tl.fma(y, square, 3.687424674597105e-1)
    y = tl.fma(y, square, -5.824733027278666e-1)
    y = tl.fma(y, square, 6.210004621745983e-1)
    y = tl.fma(y, square, -4.944515323274145e-1)
    y = tl.fma(y, square, 3.404879937665872e-1)
    y = tl.fma(y, square, -2.741127028184656e-1)
    middle = tl.fma(y, square, 5.638259427386472e-1)
    y = tl.fma(square, -1.047766399936249e1, 1.297719955372516e1)
    y = tl.fma(y, square, -7.495518717768503e0)
    y = tl.fma(y, square, 2.921019019210786e0)
    y = tl.fma(y, square, -1.015265279202700e0)
    y = tl.fma(y, square, 4.218463358204948e-1)
    y = tl.fma(y, square, -2.820767439740514e-1)
    outer = tl.fma(y, square, 5.641895067754075e-1)
    tail = tl.where(a < 2.0, middle, outer)
    return tl.where(a < 1.0, near, exp(-(safe * safe)) * inverse * tail)


@triton.jit
def silu(x):
    return tl.div_rn(x, exp(-x) + 1.0)


@triton.jit
def gelu(x):
    """x times the normal distribution up to x; the tail on the left keeps its relative accuracy."""
    tail = erfc_of_positive(tl.abs(x) * 0.70710678118654752) * 0.5
    return x * tl.where(x < 0.0, tail, 1.0 - tail)


@triton.jit
def gelu_tanh(x):
    inner = tl.fma(x * x * x, 0.044715, x) * 0.79788456080286536
    return (x * 0.5) * (tanh(inner) + 1.0)


@triton.jit
def relu(x):
    """NaN stays NaN, and minus infinity becomes it."""
    return tl.where(x < 0.0, x - x, x)


@triton.jit
def activation_of(x, ACTIVATION: tl.constexpr):
    """`ACTIVATION`: silu, gelu, gelu_tanh, relu."""
    if ACTIVATION == "silu":
        return silu(x)
    elif ACTIVATION == "gelu":
        return gelu(x)
    elif ACTIVATION == "gelu_tanh":
        return gelu_tanh(x)
    else:
        return relu(x)


@triton.constexpr_function
def _halvings(n, *rest):
    """The shape of n elements, a power of two, as a cube of sides 2, then `rest`.

    Axes are added one by one: every addition has two operands, hence a fixed order, which a tl.sum over more has not.
    Cut so at once, and not anew for each level, a tensor stays where it is in the registers.
    """
    return [2] * (n.bit_length() - 1) + list(rest)


@triton.constexpr_function
def _levels(n):
    return n.bit_length() - 1


@triton.jit
def lane_tree(v, N: tl.constexpr):
    """[N, 16] -> [N]: v[i] + v[i+8], then +4, +2, +1."""
    v = tl.reshape(v, (N, 2, 2, 2, 2))
    return tl.sum(tl.sum(tl.sum(tl.sum(v, axis=1), axis=1), axis=1), axis=1)


@triton.jit
def pair_tree(v, N: tl.constexpr):
    """[N] -> scalar, N a power of two: adjacent pairs added until one is left.

    An aligned part of 2^n elements is a subtree of its own and zeros change nothing: a row may be added in parts.
    """
    levels: tl.constexpr = _levels(N)
    if levels > 0:
        v = tl.reshape(v, _halvings(N))
        for level in tl.static_range(levels - 1):
            v = tl.sum(v, axis=levels - 1 - level)
    return tl.sum(v, axis=0)


@triton.jit
def _vectors(x, BLOCKS: tl.constexpr):
    """[BLOCKS, 4, 16] -> the four [BLOCKS, 16]."""
    pairs = tl.reshape(tl.permute(x, (0, 2, 1)), (BLOCKS, 16, 2, 2))
    even, odd = tl.split(pairs)
    a, c = tl.split(even)
    b, d = tl.split(odd)
    return a, b, c, d


@triton.jit
def _lane_sums(x, BLOCKS: tl.constexpr):
    a, b, c, d = _vectors(x, BLOCKS)
    return (((a + 0.0) + b) + c) + d


@triton.jit
def _lane_sums_of_squares(x, BLOCKS: tl.constexpr):
    a, b, c, d = _vectors(x, BLOCKS)
    return tl.fma(d, d, tl.fma(c, c, tl.fma(b, b, a * a)))


@triton.jit
def sums_of_blocks(x, BLOCKS: tl.constexpr):
    """[BLOCKS, 4, 16] -> [BLOCKS]: the sum of each block."""
    return lane_tree(_lane_sums(x, BLOCKS), BLOCKS)


@triton.jit
def sums_of_squares_of_blocks(x, BLOCKS: tl.constexpr):
    """As `sums_of_blocks`, of squares, by fma."""
    return lane_tree(_lane_sums_of_squares(x, BLOCKS), BLOCKS)


@triton.jit
def block_sum(x, BLOCKS: tl.constexpr):
    """The sum of BLOCKS * 64 columns, BLOCKS a power of two. x[j, i, l] is column 64 j + 16 i + l, 0 beyond the row.

    In this shape a thread holds the four vectors of its lanes when rows are long: the first three sums need no
    other thread.
    """
    return pair_tree(sums_of_blocks(x, BLOCKS), BLOCKS)


@triton.jit
def block_sum_of_squares(x, BLOCKS: tl.constexpr):
    """As `block_sum`, of squares, by fma."""
    return pair_tree(sums_of_squares_of_blocks(x, BLOCKS), BLOCKS)


@triton.jit
def block_sums(x, BLOCKS: tl.constexpr):
    """(sum of magnitudes, sum of squares), as the two above: one exchange between threads for both."""
    v = tl.join(_lane_sums(tl.abs(x), BLOCKS), _lane_sums_of_squares(x, BLOCKS))
    v = tl.reshape(v, (BLOCKS, 2, 2, 2, 2, 2))
    v = tl.sum(tl.sum(tl.sum(tl.sum(v, axis=1), axis=1), axis=1), axis=1)
    levels: tl.constexpr = _levels(BLOCKS)
    if levels > 0:
        v = tl.reshape(v, _halvings(BLOCKS, 2))
        for level in tl.static_range(levels):
            v = tl.sum(v, axis=levels - 1 - level)
    else:
        v = tl.reshape(v, (2,))
    return tl.split(v)
