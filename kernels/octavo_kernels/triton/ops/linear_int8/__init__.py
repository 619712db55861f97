"""linear_int8: digits times codes, exact integer sums, one dequantisation. See docs/numerics.md."""

from __future__ import annotations

from .plan import linear_int8

__all__ = ["linear_int8"]
