"""Loading on the reference backend: read, dequantise, stack, then quantise or convert."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..backend import SourcePart
from ..errors import KernelError
from ..tensor import Tensor
from .dequantize import dequantize
from .quantize import quantize_weight
from .views import tensor_view


def load(form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
    """See backend.Backend.load."""
    count = sum(part.rows * part.columns for part in parts)
    if count != math.prod(target.shape):
        rows = " + ".join(f"{part.rows}x{part.columns}" for part in parts)
        raise KernelError("OCTAVO_SHAPE_MISMATCH", f"load: parts of {rows} into a tensor of {list(target.shape)}")
    if form == "int8":
        _check_int8(parts, target, scale)
    elif form != "float":
        raise KernelError("OCTAVO_BAD_ARGUMENT", f"load: form {form!r}; there are int8 and float")
    values = torch.from_numpy(np.concatenate([_read(part) for part in parts])).reshape(target.shape)
    if form == "int8":
        assert scale is not None
        quantized = quantize_weight(weight=values)
        tensor_view(target).copy_(quantized["codes"])
        tensor_view(scale).copy_(quantized["scale"])
    else:
        tensor_view(target).copy_(values)


def _check_int8(parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
    if target.dtype != "int8" or scale is None or scale.dtype != "float32":
        raise KernelError("OCTAVO_DTYPE_MISMATCH", "load: form int8 needs an int8 target and a float32 scale")
    if len(target.shape) != 2 or any(part.columns != target.shape[1] for part in parts):
        raise KernelError(
            "OCTAVO_SHAPE_MISMATCH", f"load: rows of {parts[0].columns} into a tensor of {list(target.shape)}"
        )
    if scale.shape != target.shape[:1]:
        raise KernelError("OCTAVO_SHAPE_MISMATCH", f"load: scale {list(scale.shape)} for {target.shape[0]} rows")


def _read(part: SourcePart) -> np.ndarray:
    try:
        with open(part.file, "rb") as file:
            file.seek(part.offset)
            data = np.frombuffer(file.read(part.bytes), np.uint8)
    except OSError as error:
        raise KernelError("OCTAVO_FILE_NOT_READABLE", f"{part.file}: {error.strerror}") from error
    if data.size != part.bytes:
        text = f"{part.file}: bytes {part.offset}..{part.offset + part.bytes} reach beyond its end"
        raise KernelError("OCTAVO_MODEL_FILE_INVALID", text)
    return dequantize(part.type, data, part.rows * part.columns)
