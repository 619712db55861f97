"""Both languages read and write the same bytes: protocol/golden, run by vitest too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from octavo_worker.codec import ProtocolError, decode_request, encode
from octavo_worker.generated import messages

GOLDEN = Path(__file__).parents[2] / "protocol" / "golden"
VALID: list[dict[str, Any]] = json.loads((GOLDEN / "valid.json").read_text("utf-8"))
HOSTILE: list[dict[str, Any]] = json.loads((GOLDEN / "hostile.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", VALID, ids=lambda vector: f"{vector['type']}-{vector['value']['kind']}")
def test_messages_have_the_same_bytes_as_in_typescript(vector: dict[str, Any]) -> None:
    header = bytes.fromhex(vector["hex"])
    if vector["type"] == "request":
        assert json.loads(msgspec.json.encode(decode_request(header))) == vector["value"]
    elif vector["type"] == "reply":
        assert encode(msgspec.convert(vector["value"], messages.Reply)) == header
    else:
        assert encode(msgspec.convert(vector["value"], messages.Hello)) == header


@pytest.mark.parametrize(
    "vector", [vector for vector in HOSTILE if vector["type"] == "request"], ids=lambda vector: vector["name"]
)
def test_a_hostile_request_is_refused_before_any_effect(vector: dict[str, Any]) -> None:
    repeat = vector.get("repeat", {"hex": "", "times": 0})
    with pytest.raises(ProtocolError):
        decode_request(bytes.fromhex(vector["hex"] + repeat["hex"] * repeat["times"]))


def test_a_header_over_the_limit_is_refused() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        decode_request(bytes(messages.MAX_HEADER_BYTES + 1))


def test_a_reply_that_the_orchestrator_would_refuse_is_not_sent() -> None:
    with pytest.raises(ProtocolError):
        encode(messages.Progress(id=1, epoch=1, done=-1, total=1))
