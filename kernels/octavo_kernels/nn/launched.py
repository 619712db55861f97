"""The Triton kernels as an engine: on CUDA tensors; on CPU tensors, for tests, in Triton's interpreter.

Nothing is read back and no shape depends on data, so a call may be captured in a CUDA graph.
"""

from __future__ import annotations

import torch

from ..program.shapes import carry_words, pad64
from ..tensor import ALIGNMENT
from ..triton.eager import run_op
from .derived import Derived
from .engine import Digits, Engine
from .threshold import Dial


class TritonEngine(Engine):
    """Its methods: see engine.Engine."""

    def __init__(self) -> None:
        self._padded: Derived[torch.Tensor] = Derived(_padded)

    def quantize(self, x: torch.Tensor, dial: Dial) -> Digits:
        rows, columns = x.shape
        digits = (
            x.new_empty(rows, pad64(columns), dtype=torch.int8),
            x.new_empty(rows, pad64(columns), dtype=torch.int8),
            x.new_empty(rows, carry_words(columns), dtype=torch.int32),
            x.new_empty(rows),
        )
        attributes = {"decompose": dial.decompose, "absolute": dial.absolute, "relative": dial.relative}
        run_op("quantize", {"x": x}, _named(digits), attributes)
        return digits

    def linear_int8(
        self, digits: Digits, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        y = scale.new_empty(digits[0].shape[0], weight.shape[0])
        inputs = {**_named(digits), "weight": self._padded.of(weight), "scale": scale, "bias": bias}
        run_op("linear_int8", inputs, {"y": y})
        return y

    def linear_published(
        self, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, threshold: float
    ) -> torch.Tensor:
        y = x.new_empty(x.shape[0], weight.shape[0])
        inputs = {"x": x, "weight": self._padded.of(weight), "scale": scale, "bias": bias}
        run_op("linear_published", inputs, {"y": y}, {"threshold": threshold})
        return y


def _named(digits: Digits) -> dict[str, torch.Tensor]:
    return dict(zip(("low", "high", "carries", "step"), digits, strict=True))


def _padded(weight: torch.Tensor) -> torch.Tensor:
    """Rows a multiple of 64 bytes apart, zero beyond K, as the kernels want a packed weight: itself where it fits."""
    columns = weight.shape[1]
    if columns % ALIGNMENT == 0 and weight.data_ptr() % ALIGNMENT == 0:
        return weight
    wide = weight.new_zeros(weight.shape[0], pad64(columns))
    wide[:, :columns] = weight
    return wide[:, :columns]
