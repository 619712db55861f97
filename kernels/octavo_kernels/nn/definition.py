"""The reference's definitions as an engine: any CPU, no compiler, slow."""

from __future__ import annotations

import torch

from ..reference import linear, quantize
from .engine import Digits, Engine
from .threshold import Dial


class DefinitionEngine(Engine):
    """Its methods: see engine.Engine."""

    def quantize(self, x: torch.Tensor, dial: Dial) -> Digits:
        digits = quantize.quantize(x=x, decompose=dial.decompose, absolute=dial.absolute, relative=dial.relative)
        return digits["low"], digits["high"], digits["carries"], digits["step"]

    def linear_int8(
        self, digits: Digits, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        low, high, carries, step = digits
        given = {"low": low, "high": high, "carries": carries, "step": step}
        return linear.linear_int8(**given, weight=weight, scale=scale, bias=bias)["y"]

    def linear_published(
        self, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, threshold: float
    ) -> torch.Tensor:
        return linear.linear_published(x=x, weight=weight, scale=scale, bias=bias, threshold=threshold)["y"]
