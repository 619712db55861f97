"""How many bytes a tensor of a weight file takes."""

from __future__ import annotations

from ..errors import ErrorCode, KernelError
from ..generated.source_types import SOURCE_TYPES


def check_bytes(kind: str, count: int, size: int) -> None:
    """Raise KernelError unless `count` elements of `kind` take `size` bytes."""
    if kind not in SOURCE_TYPES:
        raise KernelError(ErrorCode.UNSUPPORTED_MODEL, f"element type {kind}; there are {', '.join(SOURCE_TYPES)}")
    block = SOURCE_TYPES[kind]
    if count % block.elements or size != count // block.elements * block.bytes:
        text = f"{count} elements of {kind} take {count // block.elements * block.bytes} bytes, the range has {size}"
        raise KernelError(ErrorCode.MODEL_FILE_INVALID, text)
