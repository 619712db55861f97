"""What the ops refuse, with symbolic shapes too: the same words from a real call and from a traced one."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ErrorCode, KernelError
from ..program.shapes import carry_words, pad64

FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def check_input(x: Tensor, rank: int | None = None, columns: int | None = None) -> None:
    """Raises KernelError unless x is float32, float16 or bfloat16 [..., columns] of this rank, or of any from 1 on."""
    if x.dtype not in FLOATS:
        raise _dtype(f"x is {x.dtype}; accepted: float32, float16, bfloat16")
    if x.dim() < 1 or (rank is not None and x.dim() != rank):
        raise _shape(f"x has the shape {list(x.shape)}, expected {'[N, K]' if rank == 2 else '[..., K]'}")
    if columns is not None and x.shape[-1] != columns:
        raise _shape(f"x has rows of {x.shape[-1]}, the weight takes {columns}")


def check_weight(weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
    """Raises KernelError unless weight is int8 [N, K], scale float32 [N] and bias a float [N]."""
    if weight.dtype != torch.int8 or scale.dtype != torch.float32:
        raise _dtype(f"the weight is {weight.dtype} and its scale {scale.dtype}; expected int8 and float32")
    if weight.dim() != 2 or scale.dim() != 1 or scale.shape[0] != weight.shape[0]:
        text = f"the weight has the shape {list(weight.shape)} and its scale {list(scale.shape)}"
        raise _shape(f"{text}; expected [N, K] and [N]")
    if bias is None:
        return
    if bias.dtype not in FLOATS:
        raise _dtype(f"the bias is {bias.dtype}; accepted: float32, float16, bfloat16")
    if bias.dim() != 1 or bias.shape[0] != weight.shape[0]:
        raise _shape(f"the bias has the shape {list(bias.shape)} for {weight.shape[0]} outputs")


def check_digits(low: Tensor, high: Tensor, carries: Tensor, step: Tensor, weight: Tensor) -> None:
    """Raises KernelError unless they are what `quantize` gives for rows as wide as the weight's."""
    columns = weight.shape[1]
    dtypes = (low.dtype, high.dtype, carries.dtype, step.dtype)
    if dtypes != (torch.int8, torch.int8, torch.int32, torch.float32):
        raise _dtype(f"low, high, carries, step are {dtypes}; expected int8, int8, int32, float32")
    rows = step.shape
    wanted = ((*rows, pad64(columns)), (*rows, pad64(columns)), (*rows, carry_words(columns)))
    for name, part, shape in zip(("low", "high", "carries"), (low, high, carries), wanted, strict=True):
        if tuple(part.shape) != shape:
            raise _shape(f"{name} has the shape {list(part.shape)}, expected {list(shape)}")


def _dtype(text: str) -> KernelError:
    return KernelError(ErrorCode.DTYPE_MISMATCH, text)


def _shape(text: str) -> KernelError:
    return KernelError(ErrorCode.SHAPE_MISMATCH, text)
