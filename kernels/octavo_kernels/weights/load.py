"""What every backend checks before it loads a tensor from files."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..backend import SourcePart
from ..errors import ErrorCode, KernelError
from ..generated.source_types import SOURCE_TYPES
from ..tensor import Tensor
from .source_types import check_bytes

_FLOATS = ("float32", "float16", "bfloat16")


def check_load(form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
    """Raise KernelError unless what is taken of `parts`, stacked by rows, fills `target`, and `scale` for int8."""
    if not parts:
        raise KernelError(ErrorCode.BAD_ARGUMENT, "load: no parts; name the file ranges that hold the tensor")
    vector = len(target.shape) < 2
    for part in parts:
        _check_part(part, None if vector else target.shape[-1], target)
    count = sum(len(part.taken_rows) * len(part.taken_columns) for part in parts)
    if count != math.prod(target.shape) or not count:
        shown = " + ".join(f"{len(part.taken_rows)}x{len(part.taken_columns)}" for part in parts[:8])
        more = f" and {len(parts) - 8} more" if len(parts) > 8 else ""
        text = f"load: parts of {shown}{more}, {count} elements, into a tensor of {list(target.shape)}"
        raise KernelError(ErrorCode.SHAPE_MISMATCH, text)
    if form == "int8":
        _check_int8(target, scale)
    elif form != "float":
        raise KernelError(ErrorCode.BAD_ARGUMENT, f"load: form {form!r}; there are int8 and float")
    elif target.dtype not in _FLOATS:
        raise KernelError(ErrorCode.DTYPE_MISMATCH, f"load: form float into a tensor of {target.dtype}")


def _check_part(part: SourcePart, columns: int | None, target: Tensor) -> None:
    """`columns`: of a target that is no vector."""
    check_bytes(part.type, part.rows * part.columns, part.bytes)
    whole = f"tensor {part.name} of {part.rows} rows of {part.columns} {part.type}"
    if part.columns % SOURCE_TYPES[part.type].elements:
        raise KernelError(ErrorCode.MODEL_FILE_INVALID, f"load: rows are not whole blocks in {whole}")
    rows, taken = part.taken_rows, part.taken_columns
    for what, size, given in (("rows", part.rows, rows), ("columns", part.columns, taken)):
        if not 0 <= given.start <= given.stop <= size:
            text = f"load: {what} {given.start} to {given.stop} are not inside {whole}"
            raise KernelError(ErrorCode.SHAPE_MISMATCH, text)
    if columns is None and len(rows) > 1 and len(taken) != part.columns:
        text = f"load: {len(taken)} columns of {len(rows)} rows into a vector, which takes whole rows or parts of one"
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"{text}: {whole}")
    if columns is not None and len(taken) != columns:
        text = f"load: rows of {len(taken)} into a tensor of {list(target.shape)}: {whole}"
        raise KernelError(ErrorCode.SHAPE_MISMATCH, text)


def _check_int8(target: Tensor, scale: Tensor | None) -> None:
    if target.dtype != "int8" or scale is None or scale.dtype != "float32":
        raise KernelError(ErrorCode.DTYPE_MISMATCH, "load: form int8 needs an int8 target and a float32 scale")
    if len(target.shape) != 2:
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"load: form int8 into a tensor of {list(target.shape)}")
    if scale.shape != target.shape[:1]:
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"load: scale {list(scale.shape)} for {target.shape[0]} rows")
