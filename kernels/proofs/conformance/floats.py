"""16-bit floats as numpy arrays: float16 by numpy's type, bfloat16 by its bits."""

from __future__ import annotations

import numpy as np


def narrow(x: np.ndarray, dtype: str) -> np.ndarray:
    """float32 to `dtype`, nearest even; bfloat16 as uint16 bits."""
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
        return np.where(np.isnan(x), bits >> 16 | 0x40, rounded).astype(np.uint16)
    with np.errstate(over="ignore"):
        return np.asarray(x).astype({"float32": np.float32, "float16": np.float16}[dtype])


def widen(x: np.ndarray, dtype: str) -> np.ndarray:
    """Any dtype to float32; bfloat16 from its bits."""
    if dtype == "bfloat16":
        return (x.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(x, np.float32)
