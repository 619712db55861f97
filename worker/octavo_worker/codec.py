"""Headers between bytes and messages, strict in both directions."""

from __future__ import annotations

import msgspec

from .generated import messages


class ProtocolError(Exception):
    """A header that breaks the protocol; nothing has happened because of it."""


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[messages.Request] = msgspec.msgpack.Decoder(messages.Request)
_checker = msgspec.msgpack.Decoder(messages.Reply | messages.Hello)


def decode_request(header: bytes | memoryview) -> messages.Request:
    """The request in `header`, or ProtocolError: msgspec refuses what the schema does not allow, and trailing bytes."""
    if len(header) > messages.MAX_HEADER_BYTES:
        raise ProtocolError(f"a header of {len(header)} bytes; at most {messages.MAX_HEADER_BYTES}")
    try:
        request = _decoder.decode(header)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error
    # msgspec keeps the last of two equal keys. Bytes that are its own encoding have none; only others are walked.
    if _encoder.encode(request) != header:
        _refuse_duplicate_keys(bytes(header))
    return request


def encode(message: messages.Reply | messages.Hello) -> bytes:
    """Raises ProtocolError if a field is out of the bounds that the orchestrator will check."""
    header = _encoder.encode(message)
    if len(header) > messages.MAX_HEADER_BYTES:
        raise ProtocolError(f"a header of {len(header)} bytes; at most {messages.MAX_HEADER_BYTES}")
    # Structs are not checked when they are made. Reading back what was written costs about a microsecond.
    try:
        _checker.decode(header)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"cannot send this: {error}") from error
    return header


def _refuse_duplicate_keys(header: bytes) -> None:
    """Walk a header that msgspec has accepted: complete, without extension types, with string keys."""
    _walk(header, 0)


def _walk(header: bytes, at: int) -> int:
    """The offset after the value at `at`."""
    kind = header[at]
    at += 1
    if kind <= 0x7F or kind >= 0xE0 or kind in (0xC0, 0xC2, 0xC3):
        return at
    if 0xA0 <= kind <= 0xBF:
        return at + (kind & 0x1F)
    if 0x80 <= kind <= 0x8F:
        return _walk_map(header, at, kind & 0x0F)
    if 0x90 <= kind <= 0x9F:
        return _walk_array(header, at, kind & 0x0F)
    if kind in (0xCA, 0xCB):
        return at + (4 if kind == 0xCA else 8)
    if 0xCC <= kind <= 0xD3:
        return at + (1 << (kind & 0x03))
    width = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}.get(kind)
    if width is None:
        raise ProtocolError(f"msgpack type {kind:#x} in a header")
    length = int.from_bytes(header[at : at + width], "big")
    at += width
    if kind <= 0xDB:
        return at + length
    return _walk_array(header, at, length) if kind <= 0xDD else _walk_map(header, at, length)


def _walk_array(header: bytes, at: int, length: int) -> int:
    for _ in range(length):
        at = _walk(header, at)
    return at


def _walk_map(header: bytes, at: int, length: int) -> int:
    keys: set[bytes] = set()
    for _ in range(length):
        # The bytes after the head, so that one key in two spellings of its length is one key.
        head = {0xD9: 2, 0xDA: 3, 0xDB: 5}.get(header[at], 1)
        end = _walk(header, at)
        key = header[at + head : end]
        if key in keys:
            raise ProtocolError(f"key {key.decode()!r} given twice")
        keys.add(key)
        at = _walk(header, end)
    return at
