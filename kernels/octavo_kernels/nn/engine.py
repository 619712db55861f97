"""What computes the ops on a device: the C++ library or the definitions on a CPU, the Triton kernels on a GPU.

All give the same bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from .threshold import Dial

Digits = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Engine(ABC):
    """`x` is float32 [T, K], `weight` int8 [N, K], `scale` and `bias` float32 [N], results float32 [T, N]; all of them
    contiguous, on the engine's device, no size zero. The arithmetic is docs/numerics.md's.
    """

    @abstractmethod
    def quantize(self, x: torch.Tensor, dial: Dial) -> Digits:
        """low, high int8 [T, pad64(K)], carries int32 [T, carryWords(K)], step float32 [T]."""

    @abstractmethod
    def linear_int8(
        self, digits: Digits, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """What `quantize` gave times the weight."""

    def int8_linear(
        self, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, dial: Dial
    ) -> torch.Tensor:
        """`quantize`, then `linear_int8`."""
        return self.linear_int8(self.quantize(x, dial), weight, scale, bias)

    @abstractmethod
    def linear_published(
        self, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, threshold: float
    ) -> torch.Tensor:
        """LLM.int8() as the paper and bitsandbytes run it; a row's result depends on the rows beside it."""
