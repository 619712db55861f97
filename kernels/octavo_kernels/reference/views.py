"""torch views of Tensors: the same memory, no copy."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..tensor import Tensor

TORCH_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
}


def view(memory: np.ndarray, dtype: str, shape: tuple[int, ...], offset: int = 0) -> torch.Tensor:
    """Row-major `shape` from byte `offset` of uint8 memory; writes go through."""
    count = math.prod(shape)
    if count == 0:  # torch.frombuffer refuses an empty view
        return torch.empty(shape, dtype=TORCH_DTYPES[dtype])
    return torch.frombuffer(memory.data, dtype=TORCH_DTYPES[dtype], count=count, offset=offset).reshape(shape)


def tensor_view(tensor: Tensor) -> torch.Tensor:
    """A Tensor of the reference backend, where "packed" is row-major at the start of the same memory."""
    return view(tensor.memory, tensor.dtype, tensor.shape)
