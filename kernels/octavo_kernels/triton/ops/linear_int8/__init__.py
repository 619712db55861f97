"""linear_int8: digits times codes, exact integer sums, one dequantisation; and the two ops that it is made of. See
docs/numerics.md."""

from __future__ import annotations

from .dequantize import dequantize
from .plan import linear_int8, multiply_int8

__all__ = ["dequantize", "linear_int8", "multiply_int8"]
