"""What a worker answers. If these fail, a refused request changes something, or a request stays without an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from octavo_kernels import ErrorCode
from octavo_worker.__main__ import MISSING_DEPENDENCY
from octavo_worker.generated import messages as wire

from .conftest import EMPTY, EPOCH, SIZES, Orchestrator


def test_nothing_is_done_for_an_orchestrator_that_was_not_welcomed(stranger: Orchestrator) -> None:
    assert stranger.refusal("stats") == "OCTAVO_PROTOCOL"
    assert stranger.refusal("welcome", protocol=wire.PROTOCOL_VERSION + 1, functions=[]) == "OCTAVO_PROTOCOL"
    assert stranger.refusal("stats") == "OCTAVO_PROTOCOL"


def test_a_request_of_another_incarnation_is_refused(orchestrator: Orchestrator) -> None:
    assert orchestrator.refusal("stats", epoch=EPOCH - 1) == "OCTAVO_PROTOCOL"


def test_what_is_written_is_read(orchestrator: Orchestrator) -> None:
    assert orchestrator.allocate(1, "float32", 2, 3).bytes == 64
    orchestrator.ask("write", b"abcd", handle=1, offset=20)
    assert orchestrator.ask("read", handle=1).bytes == 24
    assert orchestrator.payload() == bytes(20) + b"abcd"


def test_part_of_a_plain_tensor_is_read(orchestrator: Orchestrator) -> None:
    orchestrator.allocate(1, "int8", 6)
    orchestrator.ask("write", b"abcdef", handle=1, offset=0)
    assert orchestrator.ask("read", handle=1, offset=2, bytes=3).bytes == 3
    assert orchestrator.payload() == b"cde"
    orchestrator.ask("read", handle=1, offset=4)
    assert orchestrator.payload() == b"ef"
    assert orchestrator.refusal("read", handle=1, offset=4, bytes=3) == "OCTAVO_SHAPE_MISMATCH"
    assert orchestrator.refusal("read", handle=1, offset=7) == "OCTAVO_SHAPE_MISMATCH"


def test_writes_outside_a_tensor_are_refused(orchestrator: Orchestrator) -> None:
    orchestrator.allocate(1, "int8", 10)
    assert orchestrator.refusal("write", b"abc", handle=1, offset=8) == "OCTAVO_SHAPE_MISMATCH"
    assert orchestrator.refusal("write", handle=1, offset=0) == "OCTAVO_PROTOCOL"
    assert orchestrator.refusal("write", b"a", b"b", handle=1, offset=0) == "OCTAVO_PROTOCOL"
    orchestrator.ask("read", handle=1)
    assert orchestrator.payload() == bytes(10)


def test_packed_weights_are_not_written_by_bytes(orchestrator: Orchestrator) -> None:
    packed = {"handle": 1, "dtype": "int8", "layout": "packed", "shape": [16, 64]}
    orchestrator.ask("allocate", handles=[packed])
    assert orchestrator.refusal("write", b"a", handle=1, offset=0) == "OCTAVO_DTYPE_MISMATCH"


def test_an_allocation_is_all_or_nothing(orchestrator: Orchestrator) -> None:
    good = {"handle": 1, "dtype": "int8", "layout": "plain", "shape": [4]}
    for bad, code in (
        ({**good, "handle": 2, "shape": [1 << 50]}, "OCTAVO_OUT_OF_MEMORY"),
        ({**good, "handle": 2, "layout": "packed"}, "OCTAVO_SHAPE_MISMATCH"),
        (good, "OCTAVO_PROTOCOL"),
    ):
        assert orchestrator.refusal("allocate", handles=[good, bad]) == code
        assert orchestrator.ask("stats").statistics.handles == 0


def test_unknown_handles_are_errors_that_name_them(orchestrator: Orchestrator) -> None:
    requests: list[tuple[str, dict[str, Any]]] = [
        ("read", {"handle": 9}),
        ("write", {"handle": 9, "offset": 0}),
        ("free", {"handles": [9]}),
        ("step", {"program": 9, "sizes": SIZES}),
        ("define", {"program": 1, "group": 9, **EMPTY}),
    ]
    for kind, fields in requests:
        reply = orchestrator.ask(kind, b"a", **fields)
        assert (reply.code, "handle 9" in reply.message) == ("OCTAVO_DISPOSED", True)


def test_a_tensor_that_a_program_works_on_is_not_freed_before_it(orchestrator: Orchestrator) -> None:
    orchestrator.allocate(1, "float32", 4)
    orchestrator.allocate(2, "float32", 4)
    orchestrator.define(3, 1)
    assert orchestrator.refusal("free", handles=[2, 1]) == "OCTAVO_BAD_ARGUMENT"
    assert orchestrator.ask("stats").statistics.handles == 3
    orchestrator.ask("free", handles=[1, 3])
    assert orchestrator.backend.programs[0].closed
    statistics = orchestrator.ask("stats").statistics
    assert (statistics.handles, statistics.handleBytes) == (1, 64)


def test_a_step_answers_its_outputs_and_counters(orchestrator: Orchestrator) -> None:
    orchestrator.define(1)
    reply = orchestrator.ask("step", b"input", program=1, sizes=SIZES)
    assert orchestrator.payload() == b"input"
    assert reply.counters == wire.Counters(quantized=1, carries=2, nonfinite=3, nanoseconds=4)
    assert orchestrator.ask("stats").statistics.steps == 1


def test_a_step_that_is_asked_names_the_first_op_that_made_nan(orchestrator: Orchestrator) -> None:
    orchestrator.define(1)
    assert orchestrator.ask("step", program=1, sizes=SIZES).nonfinite is wire.UNSET
    assert orchestrator.ask("step", program=1, sizes=SIZES, check=True).nonfinite == 0
    assert orchestrator.ask("step", program=1, sizes={**SIZES, "T": 2}, check=True).nonfinite == 2
    assert orchestrator.ask("step", program=1, sizes={**SIZES, "T": 3}, check=True).nonfinite is wire.UNSET


def test_a_bug_in_a_step_is_an_answer_and_the_worker_lives_on(orchestrator: Orchestrator) -> None:
    orchestrator.define(1)
    reply = orchestrator.ask("step", program=1, sizes={**SIZES, "T": 13})
    assert reply.code == "OCTAVO_WORKER_FAILED"
    assert "RuntimeError: a bug" in reply.message
    assert isinstance(orchestrator.ask("drain"), wire.Ok)


def test_a_device_that_failed_ends_the_worker_after_its_answer(orchestrator: Orchestrator) -> None:
    orchestrator.define(1)
    reply = orchestrator.ask("step", program=1, sizes={**SIZES, "T": 14})
    assert (reply.code, reply.retryable) == ("OCTAVO_WORKER_LOST", True)  # Echo says so; the error table does not.
    assert orchestrator.session.ended


def test_load_fills_handles_and_names_the_file_that_is_missing(orchestrator: Orchestrator) -> None:
    orchestrator.allocate(1, "float32", 4)
    part = {"file": "there", "offset": 0, "bytes": 16, "type": "F32", "rows": 4, "columns": 1}
    assert orchestrator.ask("load", items=[{"form": "float", "handle": 1, "parts": [part]}]).bytes == 64
    missing = [{"form": "float", "handle": 1, "parts": [{**part, "file": "missing"}]}]
    assert orchestrator.refusal("load", items=missing) == "OCTAVO_FILE_NOT_READABLE"


@pytest.mark.parametrize(
    "ranges",
    [
        {"rowRange": [1, 5]},
        {"rowRange": [3, 2]},
        {"rowRange": [0, 2]},
        {"columnRange": [1, 4]},
        {"columnRange": [2**53 - 2, 2**53 - 1]},
    ],
)
def test_a_load_of_rows_or_columns_that_are_not_there_has_no_effect(
    ranges: dict[str, list[int]], orchestrator: Orchestrator
) -> None:
    orchestrator.allocate(1, "float32", 4)
    orchestrator.allocate(2, "float32", 4, 3)
    part = {"file": "there", "offset": 0, "bytes": 48, "type": "F32", "rows": 4, "columns": 3}
    good = {"form": "float", "handle": 1, "parts": [{**part, "rowRange": [1, 2], "columnRange": [0, 2]}] * 2}
    assert orchestrator.ask("load", items=[good]).bytes == 64
    orchestrator.ask("write", bytes(16), handle=1, offset=0)
    bad = {"form": "float", "handle": 2, "parts": [{**part, **ranges}]}
    assert orchestrator.refusal("load", items=[good, bad]) == "OCTAVO_SHAPE_MISMATCH"
    orchestrator.ask("read", handle=1, offset=0, bytes=16)
    assert orchestrator.payload() == bytes(16)


def test_progress_of_a_load_counts_the_rows_that_are_read(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octavo_worker.session._PROGRESS_INTERVAL", 0)
    orchestrator.allocate(1, "float32", 2, 1)
    part = {"file": "there", "offset": 0, "bytes": 48, "type": "F32", "rows": 4, "columns": 3}
    item = {"form": "float", "handle": 1, "parts": [{**part, "rowRange": [1, 3], "columnRange": [2, 3]}]}
    orchestrator.ask("load", items=[item, item])
    assert [(answer.done, answer.total) for answer, _ in orchestrator.answers[:-1]] == [(24, 48), (48, 48)]


def test_functions_outside_the_allow_list_are_not_even_imported(orchestrator: Orchestrator) -> None:
    for name in ("os:system", "math", "math:_x", "mathematics:sqrt"):
        fields = {"function": name, "handles": [], "options": [], "results": []}
        assert orchestrator.refusal("call", **fields) == "OCTAVO_FUNCTION_NOT_ALLOWED"


def test_payloads_go_through_the_file_that_both_sides_have(orchestrator: Orchestrator, tmp_path: Path) -> None:
    orchestrator.allocate(1, "int8", 8)
    file = tmp_path / "payloads"
    file.write_bytes(b"--12345678")
    shared = {"offset": 2, "bytes": 8}
    orchestrator.ask("write", handle=1, offset=0, shared=shared)
    orchestrator.ask("read", handle=1)
    assert orchestrator.payload() == b"12345678"
    orchestrator.ask("read", handle=1, shared={**shared, "offset": 0})
    assert file.read_bytes() == b"1234567878"
    beyond = {"offset": 6, "bytes": 8}
    for kind, fields in (("write", {"offset": 0}), ("read", {})):
        refusal = orchestrator.refusal(kind, handle=1, shared=beyond, **fields)
        assert refusal == "OCTAVO_FILE_NOT_READABLE"
    assert file.stat().st_size == 10


def test_statistics_count_bytes_of_handles_exactly(orchestrator: Orchestrator) -> None:
    for handle, shape in enumerate(((3,), (100, 100), (0, 5)), start=1):
        orchestrator.allocate(handle, "int64", *shape)
    assert orchestrator.ask("stats").statistics.handleBytes == 64 + 80_000 + 64


class _Unwalked(dict):
    """A table of handles that may be looked into, not gone through."""

    def _walk(self, *arguments: object) -> Any:
        raise AssertionError("a request went through all live handles")

    __iter__ = keys = values = items = copy = _walk


def test_no_request_goes_through_the_other_handles(orchestrator: Orchestrator) -> None:
    """100,000 frees took two minutes, for each looked at all handles that were alive."""
    handles = orchestrator.session._handles
    handles.tensors, handles.programs, handles._users = _Unwalked(), _Unwalked(), _Unwalked()
    orchestrator.allocate(1, "float32", 4)
    orchestrator.ask("write", b"abcd", handle=1, offset=0)
    orchestrator.ask("read", handle=1)
    orchestrator.define(2, 1)
    orchestrator.ask("step", program=2, sizes=SIZES)
    assert orchestrator.refusal("free", handles=[1]) == "OCTAVO_BAD_ARGUMENT"
    assert orchestrator.refusal("free", handles=[1, 9]) == "OCTAVO_DISPOSED"
    assert isinstance(orchestrator.ask("free", handles=[2, 1]), wire.Ok)
    assert orchestrator.ask("stats").statistics.handles == 0


def test_the_code_that_is_said_where_the_kernels_cannot_be_imported_is_one_of_the_table() -> None:
    assert MISSING_DEPENDENCY == ErrorCode.MISSING_DEPENDENCY
