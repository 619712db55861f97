"""Weight file blocks to float32, in numpy. Layouts: ggml's `block_*` structs; products and sums rounded one by one.

Every function takes the raw blocks uint8 [count, bytes per block] and returns float32 [count, elements per block].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..generated.source_types import SOURCE_TYPES
from ..weights.source_types import check_bytes


def dequantize(kind: str, data: np.ndarray, count: int) -> np.ndarray:
    """`count` float32 elements from the uint8 `data`. `kind` is one of SOURCE_TYPES."""
    check_bytes(kind, count, data.size)
    return _CONVERSIONS[kind](data.reshape(-1, SOURCE_TYPES[kind].bytes)).reshape(-1)


def _plain(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    def convert(blocks: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused as a weight
            return np.ascontiguousarray(blocks).view(dtype).astype(np.float32)

    return convert


def _bf16(blocks: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << 16).view(np.float32)


def _half(blocks: np.ndarray, byte: int) -> np.ndarray:
    """The float16 at this byte of each block, [count, 1] float32."""
    return np.ascontiguousarray(blocks[:, byte : byte + 2]).view("<f2").astype(np.float32)


def _nibbles(data: np.ndarray) -> np.ndarray:
    """All low halves of the bytes, then all high halves."""
    return np.concatenate([data & 15, data >> 4], axis=-1).astype(np.int32)


def _fifth_bits(data: np.ndarray) -> np.ndarray:
    """32 bits, as the 16s of 32 five-bit numbers."""
    return np.unpackbits(data, axis=1, bitorder="little").astype(np.int32) << 4


def _q8_0(b: np.ndarray) -> np.ndarray:
    return _half(b, 0) * np.ascontiguousarray(b[:, 2:]).view(np.int8).astype(np.float32)


def _q4_0(b: np.ndarray) -> np.ndarray:
    return _half(b, 0) * (_nibbles(b[:, 2:]) - 8).astype(np.float32)


def _q4_1(b: np.ndarray) -> np.ndarray:
    return _half(b, 0) * _nibbles(b[:, 4:]).astype(np.float32) + _half(b, 2)


def _q5_0(b: np.ndarray) -> np.ndarray:
    return _half(b, 0) * ((_nibbles(b[:, 6:]) | _fifth_bits(b[:, 2:6])) - 16).astype(np.float32)


def _q5_1(b: np.ndarray) -> np.ndarray:
    return _half(b, 0) * (_nibbles(b[:, 8:]) | _fifth_bits(b[:, 4:8])).astype(np.float32) + _half(b, 2)


def _k_scales(b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eight 6-bit scales and minima of a Q4_K or Q5_K block, times its two float16, [count, 8, 1]."""
    packed = b[:, 4:16]
    low, high, both = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scale = np.concatenate([low & 63, (both & 15) | (low >> 6 << 4)], axis=1).astype(np.float32)
    minimum = np.concatenate([high & 63, (both >> 4) | (high >> 6 << 4)], axis=1).astype(np.float32)
    return (_half(b, 0) * scale)[:, :, None], (_half(b, 2) * minimum)[:, :, None]


def _q4_k(b: np.ndarray) -> np.ndarray:
    scale, minimum = _k_scales(b)
    # 128 bytes: four runs of 32, each holding two groups of 32 numbers.
    quants = _nibbles(b[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    return scale * quants.astype(np.float32) - minimum


def _q5_k(b: np.ndarray) -> np.ndarray:
    scale, minimum = _k_scales(b)
    quants = _nibbles(b[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    # Bit g of byte j is the fifth bit of number j of group g.
    fifth = (b[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[None, :, None]) & 1
    return scale * (quants | (fifth.astype(np.int32) << 4)).astype(np.float32) - minimum


def _q6_k(b: np.ndarray) -> np.ndarray:
    # Two halves of 128 numbers: 64 bytes of low nibbles and 32 bytes with four 2-bit tops each; 16 signed scales.
    low = _nibbles(b[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    top = (b[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[None, None, :, None]) & 3
    quants = ((low | (top.astype(np.int32) << 4)) - 32).reshape(-1, 16, 16).astype(np.float32)
    scale = _half(b, 208) * np.ascontiguousarray(b[:, 192:208]).view(np.int8).astype(np.float32)
    return scale[:, :, None] * quants


_CONVERSIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "F32": _plain("<f4"),
    "F16": _plain("<f2"),
    "BF16": _bf16,
    "F64": _plain("<f8"),
    "I8": _plain("i1"),
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
