"""torch views of a device's memory: on a GPU, on the CPU (the interpreter), or on "meta", where it has only a size."""

from __future__ import annotations

import math

import torch

from ..reference.views import TORCH_DTYPES
from ..tensor import PACKED_COLUMNS, Tensor, round_up


def view(memory: torch.Tensor, dtype: str, layout: str, shape: tuple[int, ...], offset: int = 0) -> torch.Tensor:
    """`shape` from byte `offset` of uint8 memory, row-major; the rows of packed int8 lie a multiple of 64 apart."""
    pitches = list(shape)
    if layout == "packed" and dtype == "int8":
        pitches[-1] = round_up(shape[-1], PACKED_COLUMNS)
    whole = TORCH_DTYPES[dtype]
    size = math.prod(pitches) * whole.itemsize
    return memory[offset : offset + size].view(whole).reshape(pitches)[..., : shape[-1]]


def tensor_view(tensor: Tensor) -> torch.Tensor:
    """A tensor at its own shape; its memory may be numpy's (host tensors) or torch's."""
    memory = tensor.memory if isinstance(tensor.memory, torch.Tensor) else torch.from_numpy(tensor.memory)
    return view(memory, tensor.dtype, tensor.layout, tensor.shape)


def flat_bytes(x: torch.Tensor) -> torch.Tensor:
    """The elements row-major, as uint8; a copy unless they lie so already."""
    return x.contiguous().reshape(-1).view(torch.uint8)
