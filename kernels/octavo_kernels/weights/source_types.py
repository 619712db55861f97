"""Element types of weight files: SOURCE_TYPES of protocol/messages.ts in order, which is also their code in C++."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ErrorCode, KernelError


class Block(NamedTuple):
    """How many elements lie together in a file, and in how many bytes."""

    elements: int
    bytes: int


SOURCE_TYPES = {
    "F32": Block(1, 4),
    "F16": Block(1, 2),
    "BF16": Block(1, 2),
    "F64": Block(1, 8),
    "I8": Block(1, 1),
    "Q8_0": Block(32, 34),
    "Q4_0": Block(32, 18),
    "Q4_1": Block(32, 20),
    "Q5_0": Block(32, 22),
    "Q5_1": Block(32, 24),
    "Q4_K": Block(256, 144),
    "Q5_K": Block(256, 176),
    "Q6_K": Block(256, 210),
}


def check_bytes(kind: str, count: int, size: int) -> None:
    """Raise KernelError unless `count` elements of `kind` take `size` bytes."""
    if kind not in SOURCE_TYPES:
        raise KernelError(ErrorCode.UNSUPPORTED_MODEL, f"element type {kind}; there are {', '.join(SOURCE_TYPES)}")
    block = SOURCE_TYPES[kind]
    if count % block.elements or size != count // block.elements * block.bytes:
        text = f"{count} elements of {kind} take {count // block.elements * block.bytes} bytes, the range has {size}"
        raise KernelError(ErrorCode.MODEL_FILE_INVALID, text)
