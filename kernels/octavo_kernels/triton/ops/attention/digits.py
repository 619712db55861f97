"""Integers as int8 digits, for tensor cores; and how rows of pages become matrices of them.

A 16-bit number is two digits in base 128, the lower one in 0..127: x = 128 high + low. The upper one is then the upper
byte of 2x, so that four numbers take five instructions. Beside pages of 8 bits, whose numbers are digits, there are q
and weights of values of 15 bits: two digits in base 256, the lower one in -128..127.

Products of matrices are sums in any order: the columns of q and k, and the keys in weights and values, come in the
order in which a thread that has read 16 bytes of several rows of a page holds neighbours.
"""

from __future__ import annotations

import triton
import triton.language as tl

# The kernels of this folder are written for pages of 16 keys and blocks of 128: shapes of tensors follow from both.
# So they are numbers here and not names of the op table; should the table have others, `plan.py` refuses to plan.

_SPLIT_PAIRS = tl.constexpr("""{
    .reg .b32 a, b;
    prmt.b32 $1, $2, $3, 0x6420;
    and.b32 $1, $1, 0x7f7f7f7f;
    shl.b32 a, $2, 1;
    shl.b32 b, $3, 1;
    prmt.b32 $0, a, b, 0x7531;
}""")


@triton.jit
def digits(x, ASSEMBLY: tl.constexpr):
    """int16 of at most 14 bits -> (high, low) int8, base 128."""
    if ASSEMBLY:
        high, low = tl.inline_asm_elementwise(_SPLIT_PAIRS, "=r,=r,r,r", [x], (tl.int8, tl.int8), is_pure=True, pack=4)
    else:
        high, low = (x >> 7).to(tl.int8), (x & 127).to(tl.int8)
    return high, low


@triton.jit
def digits_of(x, WIDE: tl.constexpr):
    """int32 -> (high, low) int8: base 128 beside 16-bit pages (WIDE), base 256 beside 8-bit ones."""
    if WIDE:
        high = x >> 7
        low = x & 127
    else:
        high = (x + 128) >> 8
        low = x - (high << 8)
    return high.to(tl.int8), low.to(tl.int8)


@triton.jit
def ordered_columns(x, M: tl.constexpr, BLOCK_D: tl.constexpr):
    """[M, BLOCK_D] -> the columns as in `key_matrix`."""
    x = tl.reshape(x, (M, 8, BLOCK_D // 16, 2))
    return tl.reshape(tl.permute(x, (0, 2, 1, 3)), (M, BLOCK_D))


# A thread has 16 bytes of the last axis of what is loaded. Neighbouring threads go on there, then along the first axis,
# then warps along the second: so the third one is a thread's own.


@triton.jit
def load_keys(keys, offsets, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """offsets [8], of pages and heads -> their integers [BLOCK_D / 16, 8 pages, 8, 32]."""
    ROWS: tl.constexpr = BLOCK_D // 16
    row = tl.arange(0, ROWS)[:, None] + tl.arange(0, 8)[None, :] * ROWS
    place = row[:, None, :, None] * 32 + tl.arange(0, 32)[None, None, None, :]
    at = keys + offsets[None, :, None, None] + place
    if D == BLOCK_D:
        return tl.load(at)
    else:
        return tl.load(at, mask=row[:, None, :, None] * 2 < D, other=0)


@triton.jit
def key_matrix(x, BLOCK_D: tl.constexpr):
    """Of `load_keys`, or digits of it -> [128 keys, BLOCK_D], columns in the order of `ordered_columns`."""
    x = tl.reshape(x, (BLOCK_D // 16, 8, 8, 16, 2))
    return tl.reshape(tl.permute(x, (1, 3, 0, 2, 4)), (128, BLOCK_D))


@triton.jit
def load_values(values, offsets, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """offsets [8], of pages and heads -> their integers [8 pages, 8 pairs of keys, 2 BLOCK_D]."""
    place = tl.arange(0, 2 * BLOCK_D)
    row = tl.arange(0, 8)[None, :, None] * (2 * D) + place[None, None, :]
    at = values + offsets[:, None, None] + row
    if D == BLOCK_D:
        return tl.load(at)
    else:
        return tl.load(at, mask=place[None, None, :] < 2 * D, other=0)


@triton.jit
def value_matrix(x, BLOCK_D: tl.constexpr):
    """Of `load_values`, or digits of it -> [BLOCK_D, 128 keys], keys in the order of `ordered_keys`."""
    x = tl.reshape(x, (8, 2, 4, BLOCK_D, 2))
    return tl.reshape(tl.permute(x, (3, 0, 2, 1, 4)), (BLOCK_D, 128))


@triton.jit
def ordered_keys(x, M: tl.constexpr):
    """[M, 128 keys] -> the keys of each page ordered such that a thread that holds pairs of them 8 apart, as it does of
    a product, holds neighbours."""
    x = tl.reshape(x, (M, 8, 2, 4, 2))
    return tl.reshape(tl.permute(x, (0, 1, 3, 2, 4)), (M, 128))
