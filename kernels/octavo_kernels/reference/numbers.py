"""The arithmetic that definitions are made of, bit for bit: fma, 16 lanes, trees, block sums, exp."""

from __future__ import annotations

import torch

LANES = 16
BLOCK = 64
# Below this exp is 0: e^-87.3 is the last power above the smallest normal float32.
EXP_UNDERFLOW = -87.3


def f32(value: float) -> torch.Tensor:
    """A float32 scalar. Tensor / number and number / tensor may multiply by a reciprocal in torch; this never does."""
    return torch.tensor(value, dtype=torch.float32)


def fma(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """a * b + c in float32 with one rounding.

    The product of two float32 is exact in float64. The sum is rounded to odd there (Boldo and Melquiond 2008: the last
    bit is set when something was cut off), so that the second rounding, to float32, is the only one that counts.
    """
    product, addend = a.double() * b.double(), c.double()
    total = product + addend
    part = total - product
    error = (product - (total - part)) + (addend - part)  # exact: TwoSum
    bits = total.contiguous().view(torch.int64)
    away = torch.where((error > 0) == (total > 0), 1, -1)  # one step towards the exact sum
    inexact = (error > 0) | (error < 0)  # false for NaN, which overflow leaves in `error`
    odd = torch.where(inexact & (bits & 1 == 0), bits + away, bits)
    return odd.view(torch.float64).float()


def fma_chain(x: torch.Tensor, w: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """start, then acc = fma(x[..., k], w[..., k], acc) for ascending k; x and w broadcast, their last axis is k."""
    accumulator = start
    for k in range(x.shape[-1]):
        accumulator = fma(x[..., k], w[..., k], accumulator)
    return accumulator


def lane_tree(v: torch.Tensor) -> torch.Tensor:
    """[..., 16] -> [...]: v[i] + v[i+8], then +4, +2, +1."""
    for half in (8, 4, 2, 1):
        v = v[..., :half] + v[..., half : 2 * half]
    return v[..., 0]


def _vectors(x: torch.Tensor) -> torch.Tensor:
    """[T, K] -> [T, blocks, 4, 16], padded with zeros."""
    rows, columns = x.shape
    blocks = max(1, -(-columns // BLOCK))
    padded = torch.nn.functional.pad(x, (0, blocks * BLOCK - columns))
    return padded.reshape(rows, blocks, BLOCK // LANES, LANES)


def pair_tree(blocks: torch.Tensor) -> torch.Tensor:
    """[T, blocks] -> [T]: padded with zeros to a power of two, adjacent pairs added until one is left."""
    count = blocks.shape[1]
    blocks = torch.nn.functional.pad(blocks, (0, (1 << (count - 1).bit_length()) - count))
    while blocks.shape[1] > 1:
        blocks = blocks[:, 0::2] + blocks[:, 1::2]
    return blocks[:, 0]


def block_sums(x: torch.Tensor) -> torch.Tensor:
    """[T, K] -> [T, blocks]: the sum of each 64 columns."""
    vectors = _vectors(x)
    accumulator = torch.zeros_like(vectors[:, :, 0])
    for i in range(vectors.shape[2]):
        accumulator = accumulator + vectors[:, :, i]
    return lane_tree(accumulator)


def block_sums_of_squares(x: torch.Tensor) -> torch.Tensor:
    """[T, K] -> [T, blocks]: as `block_sums`, of squares, by fma."""
    vectors = _vectors(x)
    accumulator = torch.zeros_like(vectors[:, :, 0])
    for i in range(vectors.shape[2]):
        accumulator = fma(vectors[:, :, i], vectors[:, :, i], accumulator)
    return lane_tree(accumulator)


def row_sum(x: torch.Tensor) -> torch.Tensor:
    """[T, K] -> [T]: the sum of each row by blocks of 64 columns, so that shards of whole blocks agree."""
    return pair_tree(block_sums(x))


def row_sum_of_squares(x: torch.Tensor) -> torch.Tensor:
    """[T, K] -> [T]: as `row_sum`, of squares, by fma."""
    return pair_tree(block_sums_of_squares(x))


# Cephes 2.8 single precision (S. L. Moshier): e^r - 1 - r over r^2 for |r| <= ln 2 / 2, highest power first.
_EXP_COEFFICIENTS = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
# ln 2 in two parts: products of the first with small integers are exact.
_LN2 = (0.693359375, -2.12194440e-4)


def sqrt(x: torch.Tensor) -> torch.Tensor:
    """Correctly rounded. torch's own float32 one is an ulp off for one number in six (MKL, AVX-512); its float64 one is
    within an ulp, and no root of a float32 lies that close to the middle between two."""
    return torch.sqrt(x.double()).float()


def power_of_two(n: torch.Tensor) -> torch.Tensor:
    """2^n of int32 in -126..127, exactly."""
    return ((n + 127) << 23).view(torch.float32)


def exp(x: torch.Tensor) -> torch.Tensor:
    """e^x within 2 ulp, the same bits as on every backend: 2^n times a polynomial in x - n ln 2."""
    number = ~x.isnan()
    clamped = torch.where(number, x, f32(0)).clamp(-87.5, 89)
    n = torch.round(clamped * f32(1.44269504088896341))
    r = fma(-n, f32(_LN2[1]), fma(-n, f32(_LN2[0]), clamped))
    y = f32(_EXP_COEFFICIENTS[0])
    for coefficient in _EXP_COEFFICIENTS[1:]:
        y = fma(y, r, f32(coefficient))
    y = fma(y, r * r, r) + f32(1)
    half = n.int() >> 1  # in two factors, for 2^128 is not a float
    scaled = y * power_of_two(half) * power_of_two(n.int() - half)
    return torch.where(number, torch.where(x < f32(EXP_UNDERFLOW), f32(0), scaled), x)
