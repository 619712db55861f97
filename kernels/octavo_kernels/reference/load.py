"""Loading on the reference backend: read, dequantise, stack, then quantise or convert."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..backend import SourcePart
from ..errors import KernelError
from ..load import check_load
from ..tensor import Tensor
from .dequantize import dequantize
from .quantize import quantize_weight
from .views import tensor_view


def load(form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
    """See backend.Backend.load."""
    check_load(form, parts, target, scale)
    values = torch.from_numpy(np.concatenate([_read(part) for part in parts])).reshape(target.shape)
    if form == "int8":
        assert scale is not None
        finite = torch.isfinite(values).all(1)
        if not finite.all():
            row = int((~finite).nonzero()[0, 0])
            raise KernelError("OCTAVO_MODEL_FILE_INVALID", f"load: row {row} of the weight holds NaN or infinity")
        quantized = quantize_weight(weight=values)
        tensor_view(target).copy_(quantized["codes"])
        tensor_view(scale).copy_(quantized["scale"])
    else:
        tensor_view(target).copy_(values)


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
