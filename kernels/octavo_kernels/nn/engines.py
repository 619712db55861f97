"""Which engine computes on a device."""

from __future__ import annotations

import logging
from functools import cache

import torch

from ..errors import ErrorCode, KernelError
from .engine import Engine


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
