"""What every backend checks before it loads a tensor from files."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..backend import SourcePart
from ..errors import ErrorCode, KernelError
from ..tensor import Tensor
from .source_types import check_bytes

_FLOATS = ("float32", "float16", "bfloat16")


def check_load(form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
    """Raise KernelError unless `parts`, stacked by rows, fill `target` (and `scale`, when `form` is "int8")."""
    if not parts:
        raise KernelError(ErrorCode.BAD_ARGUMENT, "load: no parts; name the file ranges that hold the tensor")
    count = sum(part.rows * part.columns for part in parts)
    if count != math.prod(target.shape):
        rows = " + ".join(f"{part.rows}x{part.columns}" for part in parts)
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"load: parts of {rows} into a tensor of {list(target.shape)}")
    if len(target.shape) == 2 and any(part.columns != target.shape[1] for part in parts):
        text = f"load: rows of {parts[0].columns} into a tensor of {list(target.shape)}"
        raise KernelError(ErrorCode.SHAPE_MISMATCH, text)
    if not count:
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"load: nothing to load into a tensor of {list(target.shape)}")
    for part in parts:
        check_bytes(part.type, part.rows * part.columns, part.bytes)
    if form == "int8":
        _check_int8(target, scale)
    elif form != "float":
        raise KernelError(ErrorCode.BAD_ARGUMENT, f"load: form {form!r}; there are int8 and float")
    elif target.dtype not in _FLOATS:
        raise KernelError(ErrorCode.DTYPE_MISMATCH, f"load: form float into a tensor of {target.dtype}")


def _check_int8(target: Tensor, scale: Tensor | None) -> None:
    if target.dtype != "int8" or scale is None or scale.dtype != "float32":
        raise KernelError(ErrorCode.DTYPE_MISMATCH, "load: form int8 needs an int8 target and a float32 scale")
    if len(target.shape) != 2:
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"load: form int8 into a tensor of {list(target.shape)}")
    if scale.shape != target.shape[:1]:
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"load: scale {list(scale.shape)} for {target.shape[0]} rows")
