"""Random numbers by counter: Philox4x32-10 (Salmon et al. 2011)."""

from __future__ import annotations

import triton
import triton.language as tl

_WORD = tl.constexpr(0xFFFFFFFF)


@triton.jit
def uniform(seed_low, seed_high, position):
    """In [0, 1), a multiple of 2^-24: the first word of the counter (position, 0, 0, 0) under the key. All int32."""
    key0 = seed_low.to(tl.uint32, bitcast=True).to(tl.uint64)
    key1 = seed_high.to(tl.uint32, bitcast=True).to(tl.uint64)
    x0 = position.to(tl.uint32, bitcast=True).to(tl.uint64)
    x1 = x0 & 0
    x2 = x1
    x3 = x1
    for _ in tl.static_range(10):
        first = x0 * 0xD2511F53
        second = x2 * 0xCD9E8D57
        x0 = (second >> 32) ^ x1 ^ key0
        x1 = second & _WORD
        x2 = (first >> 32) ^ x3 ^ key1
        x3 = first & _WORD
        key0 = (key0 + 0x9E3779B9) & _WORD
        key1 = (key1 + 0xBB67AE85) & _WORD
    return (x0 >> 8).to(tl.int32).to(tl.float32) * 5.9604644775390625e-08
