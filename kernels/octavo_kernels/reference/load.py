"""Loading on the reference backend: read, dequantise, stack, then quantise or convert."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..backend import SourcePart
from ..errors import ErrorCode, KernelError
from ..tensor import Tensor
from ..weights.load import check_load
from .dequantize import dequantize
from .quantize import quantize_weight
from .views import tensor_view

#: The least magnitudes that round to infinity.
_LIMITS = {"float16": np.float32(65520), "bfloat16": np.float32(1.99609375 * 2.0**127)}


def load(form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
    """See backend.Backend.load."""
    check_load(form, parts, target, scale)
    values = torch.from_numpy(np.concatenate([_read(part, target.dtype) for part in parts])).reshape(target.shape)
    if form == "int8":
        assert scale is not None
        quantized = quantize_weight(weight=values)
        tensor_view(target).copy_(quantized["codes"])
        tensor_view(scale).copy_(quantized["scale"])
    else:
        tensor_view(target).copy_(values)


def _read(part: SourcePart, dtype: str) -> np.ndarray:
    try:
        with open(part.file, "rb") as file:
            file.seek(part.offset)
            data = np.frombuffer(file.read(part.bytes), np.uint8)
    except OSError as error:
        raise KernelError(ErrorCode.FILE_NOT_READABLE, f"{part.file}: {error.strerror}") from error
    if data.size != part.bytes:
        text = f"{part.file}: bytes {part.offset}..{part.offset + part.bytes} reach beyond its end"
        raise KernelError(ErrorCode.MODEL_FILE_INVALID, text)
    values = dequantize(part.type, data, part.rows * part.columns)
    _check_range(part, values, dtype)
    return values


def _check_range(part: SourcePart, values: np.ndarray, dtype: str) -> None:
    """Refuse NaN, infinity, and what `dtype` would round to infinity: a step would make them the answer."""
    outside = ~(np.abs(values) < _LIMITS.get(dtype, np.float32(np.inf)))
    if not outside.any():
        return
    index = int(outside.argmax())
    value = float(values[index])
    kept = dtype if dtype in _LIMITS else "float32"
    what = "NaN" if np.isnan(value) else f"{value:g}, which {kept} cannot hold"
    advice = "files in bfloat16 would keep it" if dtype == "float16" and value == value else "the file is damaged"
    text = (
        f"tensor {part.name} holds {what}, at [{index // part.columns}, {index % part.columns}]; {advice}: {part.file}"
    )
    raise KernelError(ErrorCode.MODEL_FILE_INVALID, f"load: {text}")
