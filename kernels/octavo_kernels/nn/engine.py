"""What computes the ops on a device: the C++ library or the definitions on a CPU, the Triton kernels on a GPU.

All give the same bits.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Protocol

import torch

from ..errors import ErrorCode, KernelError
from .threshold import Dial

Digits = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Engine(Protocol):
    """`x` is float32 [T, K], `weight` int8 [N, K], `scale` and `bias` float32 [N], results float32 [T, N]; all of them
    contiguous, on the engine's device, no size zero. The arithmetic is docs/numerics.md's.
    """

    def quantize(self, x: torch.Tensor, dial: Dial) -> Digits:
        """low, high int8 [T, pad64(K)], carries int32 [T, carryWords(K)], step float32 [T]."""
        ...

    def linear_int8(
        self, digits: Digits, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """What `quantize` gave times the weight."""
        ...

    def int8_linear(
        self, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, dial: Dial
    ) -> torch.Tensor:
        """`quantize`, then `linear_int8`."""
        ...

    def linear_published(
        self, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, threshold: float
    ) -> torch.Tensor:
        """LLM.int8() as the paper and bitsandbytes run it; a row's result depends on the rows beside it."""
        ...


def engine_for(device: torch.device) -> Engine:
    """Raises KernelError OCTAVO_WRONG_DEVICE where there is none."""
    if device.type == "cpu":
        return _cpu()
    if device.type == "cuda":
        return _cuda()
    raise KernelError(ErrorCode.WRONG_DEVICE, f"there are kernels for cpu and cuda, none for {device}")


@cache
def _cpu() -> Engine:
    from .library import LibraryEngine

    try:
        return LibraryEngine()
    except KernelError as error:
        if error.code != ErrorCode.MISSING_DEPENDENCY:
            raise
        from .definition import DefinitionEngine

        logging.getLogger(__name__).warning(
            "octavo_kernels.nn runs slow definitions in place of C++: %s", error.message
        )
        return DefinitionEngine()


@cache
def _cuda() -> Engine:
    from .launched import TritonEngine

    return TritonEngine()
