"""Loading and reading weights on the CPU: the structs and functions of src/load/abi.h."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_char_p, c_int32, c_int64, c_void_p

import numpy as np

from ..backend import SourcePart
from ..errors import ErrorCode, KernelError
from ..generated.ops import BYTES_PER_ELEMENT
from ..generated.source_types import SOURCE_TYPES
from ..tensor import Tensor
from ..weights.load import check_load
from .library import DTYPE_CODES, fields, load_library

_TYPE_CODES = {name: code for code, name in enumerate(SOURCE_TYPES)}
_CODES = (
    None,
    ErrorCode.BAD_ARGUMENT,
    ErrorCode.FILE_NOT_READABLE,
    ErrorCode.MODEL_FILE_INVALID,
    ErrorCode.OUT_OF_MEMORY,
)
_ERROR_BYTES = 1024


class _Part(Structure):
    """octavo_source_part"""

    _fields_ = [
        *fields(c_char_p, "file", "name"),
        *fields(c_int64, "offset", "bytes", "rows", "columns"),
        *fields(c_int64, "first_row", "row_count", "first_column", "column_count"),
        *fields(c_int32, "type", "reserved"),
    ]


class _Request(Structure):
    """octavo_load_request"""

    _fields_ = [
        ("parts", POINTER(_Part)),
        ("part_count", c_int64),
        *fields(c_void_p, "target", "scale"),
        *fields(c_int32, "dtype", "packed", "threads", "vector"),
    ]


def load(
    form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None, *, isa: str, threads: int
) -> None:
    """See backend.Backend.load."""
    check_load(form, parts, target, scale)
    array = (_Part * len(parts))(
        *(
            _Part(
                os.fsencode(part.file),
                part.name.encode(),
                part.offset,
                part.bytes,
                part.rows,
                part.columns,
                part.taken_rows.start,
                len(part.taken_rows),
                part.taken_columns.start,
                len(part.taken_columns),
                _TYPE_CODES[part.type],
            )
            for part in parts
        )
    )
    request = _Request(
        array,
        len(parts),
        target.memory.ctypes.data,
        None if scale is None or form != "int8" else scale.memory.ctypes.data,
        DTYPE_CODES[target.dtype],
        target.layout == "packed",
        threads,
        len(target.shape) < 2,
    )
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    _raise(load_library().octavo_load(ctypes.byref(request), isa.encode(), error, _ERROR_BYTES), error)


def read(tensor: Tensor) -> np.ndarray:
    """See backend.Backend.read."""
    count = int(np.prod(tensor.shape, dtype=np.int64)) * BYTES_PER_ELEMENT[tensor.dtype]
    if tensor.layout == "plain":
        return tensor.memory[:count].copy()
    rows, columns = tensor.shape
    content = np.empty(count, np.uint8)
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    unpack = load_library().octavo_unpack
    arguments = (tensor.memory.ctypes.data, DTYPE_CODES[tensor.dtype], rows, columns, content.ctypes.data)
    _raise(unpack(*arguments, error, _ERROR_BYTES), error)
    return content


def _raise(code: int, error: ctypes.Array) -> None:
    if code:
        raise KernelError(_CODES[code] or ErrorCode.WORKER_FAILED, f"load: {error.value.decode(errors='replace')}")
