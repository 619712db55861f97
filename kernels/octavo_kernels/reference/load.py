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
    if form == "int8":
        assert scale is not None
        quantized = [quantize_weight(weight=torch.from_numpy(_read(part, "int8"))) for part in parts]
        codes = [part["codes"][:, _columns(source)] for part, source in zip(quantized, parts, strict=True)]
        tensor_view(target).copy_(torch.cat(codes))
        tensor_view(scale).copy_(torch.cat([part["scale"] for part in quantized]))
    else:
        values = np.concatenate([_read(part, target.dtype)[:, _columns(part)].reshape(-1) for part in parts])
        tensor_view(target).copy_(torch.from_numpy(values).reshape(target.shape))


def _columns(part: SourcePart) -> slice:
    return slice(part.taken_columns.start, part.taken_columns.stop)


def _read(part: SourcePart, dtype: str) -> np.ndarray:
    """The rows taken [rows, part.columns]; NaN and infinity are refused where they would have an effect."""
    row_bytes = part.bytes // max(1, part.rows)
    start, size = part.offset + part.taken_rows.start * row_bytes, len(part.taken_rows) * row_bytes
    try:
        with open(part.file, "rb") as file:
            file.seek(start)
            data = np.frombuffer(file.read(size), np.uint8)
    except OSError as error:
        raise KernelError(ErrorCode.FILE_NOT_READABLE, f"{part.file}: {error.strerror}") from error
    if data.size != size:
        text = f"{part.file}: bytes {start}..{start + size} reach beyond its end"
        raise KernelError(ErrorCode.MODEL_FILE_INVALID, text)
    values = dequantize(part.type, data, len(part.taken_rows) * part.columns)
    values = values.reshape(len(part.taken_rows), part.columns)
    _check_range(part, values, dtype)
    return values


def _check_range(part: SourcePart, values: np.ndarray, dtype: str) -> None:
    """Refuse NaN, infinity, and what `dtype` would round to infinity: a step would make them the answer."""
    outside = ~(np.abs(values) < _LIMITS.get(dtype, np.float32(np.inf)))
    if dtype != "int8":  # An int8 row has the scale of all its columns.
        outside[:, : part.taken_columns.start] = outside[:, part.taken_columns.stop :] = False
    if not outside.any():
        return
    row, column = np.unravel_index(outside.argmax(), outside.shape)
    value = float(values[row, column])
    kept = dtype if dtype in _LIMITS else "float32"
    what = "NaN" if np.isnan(value) else f"{value:g}, which {kept} cannot hold"
    advice = "files in bfloat16 would keep it" if dtype == "float16" and value == value else "the file is damaged"
    where = f"[{part.taken_rows.start + row}, {column}]"
    text = f"tensor {part.name} holds {what}, at {where}; {advice}: {part.file}"
    raise KernelError(ErrorCode.MODEL_FILE_INVALID, f"load: {text}")
