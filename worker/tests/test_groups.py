"""Groups in a worker: what is refused has no effect, and a group outlives the programs that run in it."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from octavo_kernels import open_backend
from octavo_worker.generated import messages as wire
from octavo_worker.session import Session

from .conftest import EMPTY, EPOCH, SIZES, Orchestrator, shared_file

_PAGE = mmap.ALLOCATIONGRANULARITY
_BYTES = 16 * _PAGE
GROUP: dict[str, Any] = {"group": 5, "rank": 0, "ranks": 2, "shared": {"offset": _PAGE, "bytes": _BYTES}}
GROUP |= {"deadlineMs": 20}


@pytest.fixture
def payloads(tmp_path: Path) -> Path:
    """The file that the worker shares."""
    path = tmp_path / "payloads"
    path.write_bytes(bytes(_PAGE + _BYTES))
    return path


def _numbers(place: dict[str, Any], columns: int) -> dict[str, Any]:
    shape = [{"type": "symbol", "symbol": "T"}, {"type": "fixed", "size": columns}]
    return {"dtype": "float32", "layout": "plain", "shape": shape, "place": place}


def _gather(own: int, columns: int, first: int = 0) -> dict[str, Any]:
    """A program of one gather, in the arena 1."""
    attributes = [
        {"name": name, "type": "integer", "integer": n} for name, n in (("columns", columns), ("first", first))
    ]
    op = {"op": "gather", "inputs": [{"name": "x", "value": 0}], "outputs": [{"name": "y", "value": 1}]}
    values = [_numbers({"type": "input"}, own), _numbers({"type": "arena", "offset": 0}, columns)]
    limits = {**SIZES, "T": 4}
    program = {"values": values, "ops": [{**op, "attributes": attributes}], "inputs": [0], "outputs": [1]}
    return {"arena": 1, "limits": limits, **program}


@pytest.fixture
def worker(tmp_path: Path, payloads: Path) -> Orchestrator:
    """On the cpu backend, with an arena."""
    session = Session(open_backend("cpu", 1), "cpu:0", EPOCH, shared_file(tmp_path))
    found = Orchestrator(session, None)  # type: ignore[arg-type]
    found.ask("welcome", protocol=wire.PROTOCOL_VERSION, functions=[])
    found.allocate(1, "int8", 4096)
    return found


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"rank": 2}, "OCTAVO_BAD_ARGUMENT"),
        ({"stages": 3}, "OCTAVO_BAD_ARGUMENT"),
        ({"stages": 4}, "OCTAVO_BAD_ARGUMENT"),
        ({"shared": {"offset": _PAGE, "bytes": 4096 + 511}}, "OCTAVO_BAD_ARGUMENT"),
        ({"ranks": 1024}, "OCTAVO_BAD_ARGUMENT"),
        ({"shared": {"offset": _PAGE, "bytes": 0}}, "OCTAVO_PROTOCOL"),
        ({"shared": {"offset": 64, "bytes": _BYTES}}, "OCTAVO_PROTOCOL"),
        ({"shared": {"offset": _PAGE, "bytes": _BYTES + 1}}, "OCTAVO_FILE_NOT_READABLE"),
        ({"shared": {"offset": 2**52, "bytes": _BYTES}}, "OCTAVO_FILE_NOT_READABLE"),
        ({"group": 1}, "OCTAVO_PROTOCOL"),
    ],
    ids=str,
)
def test_a_group_that_cannot_be_is_refused_and_leaves_nothing(
    worker: Orchestrator, payloads: Path, changed: dict[str, Any], code: str
) -> None:
    before = _mappings(payloads)
    assert worker.refusal("group", **{**GROUP, **changed}) == code
    assert worker.ask("stats").statistics.handles == 1
    assert _mappings(payloads) == before
    assert payloads.read_bytes() == bytes(_PAGE + _BYTES)
    assert isinstance(worker.ask("group", **GROUP), wire.Ok)


def test_without_shared_memory_there_are_no_groups(orchestrator: Orchestrator) -> None:
    orchestrator.session._shared._descriptor = None
    assert orchestrator.refusal("group", **GROUP) == "OCTAVO_PROTOCOL"


def test_a_group_is_freed_after_its_programs_and_its_mapping_goes_with_it(worker: Orchestrator, payloads: Path) -> None:
    before = _mappings(payloads)
    worker.ask("group", **GROUP)
    assert _mappings(payloads) == before + 1
    assert isinstance(worker.ask("define", program=6, group=5, **_gather(4, 9)), wire.Ok)
    assert worker.refusal("free", handles=[5]) == "OCTAVO_BAD_ARGUMENT"
    assert worker.ask("stats").statistics.handles == 3
    assert isinstance(worker.ask("free", handles=[5, 6]), wire.Ok)
    statistics = worker.ask("stats").statistics
    assert (statistics.handles, statistics.handleBytes) == (1, 4096)
    assert _mappings(payloads) == before


def test_a_handle_is_what_it_was_made_as(worker: Orchestrator) -> None:
    worker.ask("group", **GROUP)
    assert worker.refusal("read", handle=5) == "OCTAVO_DISPOSED"
    assert worker.answers[-1][0].message == "handle 5 is a group, not a tensor"
    assert worker.refusal("step", program=5, sizes=SIZES) == "OCTAVO_DISPOSED"
    assert worker.refusal("define", program=6, group=1, **EMPTY) == "OCTAVO_DISPOSED"
    assert worker.answers[-1][0].message == "handle 1 is a tensor, not a group"
    assert worker.refusal("define", program=5, **EMPTY) == "OCTAVO_PROTOCOL"


def test_a_group_of_one_gathers_its_own(worker: Orchestrator) -> None:
    worker.ask("group", **{**GROUP, "ranks": 1})
    worker.ask("define", program=6, group=5, **_gather(4, 4))
    x = np.arange(8, dtype=np.float32)
    assert isinstance(worker.ask("step", x.tobytes(), program=6, sizes={**SIZES, "T": 2}), wire.Ok)
    assert worker.payload() == x.tobytes()


def test_a_broken_group_fails_the_steps_of_its_programs_and_no_others(worker: Orchestrator, payloads: Path) -> None:
    worker.ask("group", **GROUP)
    worker.ask("define", program=6, group=5, **_gather(4, 9))
    worker.ask("define", program=7, group=5, **EMPTY)
    worker.ask("define", program=8, **EMPTY)
    step: dict[str, Any] = {"sizes": {**SIZES, "T": 1}}
    assert isinstance(worker.ask("step", program=7, sizes=SIZES), wire.Ok)
    reply = worker.ask("step", bytes(16), program=6, **step)
    assert (reply.code, reply.retryable) == ("OCTAVO_GROUP_BROKEN", True)
    assert reply.message == "rank 1 of 2 did not come to gather 0 within 20 ms"
    assert worker.refusal("step", bytes(16), program=6, **step) == "OCTAVO_GROUP_BROKEN"
    assert worker.refusal("step", program=7, sizes=SIZES) == "OCTAVO_GROUP_BROKEN"
    assert isinstance(worker.ask("step", program=8, sizes=SIZES), wire.Ok)
    assert payloads.read_bytes()[_PAGE : _PAGE + 4] != bytes(4), "the other ranks would wait for their deadline"
    worker.ask("free", handles=[5, 6, 7])
    payloads.open("r+b").write(bytes(_PAGE + _BYTES))
    worker.ask("group", **{**GROUP, "ranks": 1})
    worker.ask("define", program=6, group=5, **_gather(4, 4))
    assert isinstance(worker.ask("step", bytes(16), program=6, **step), wire.Ok)


def test_an_aborted_group_fails_its_next_step(worker: Orchestrator, payloads: Path) -> None:
    worker.ask("group", **{**GROUP, "ranks": 1})
    worker.ask("define", program=6, group=5, **_gather(4, 4))
    with payloads.open("r+b") as file:
        file.seek(_PAGE)
        file.write(b"\1")
    reply = worker.ask("step", bytes(16), program=6, sizes={**SIZES, "T": 1})
    assert (reply.code, reply.message) == ("OCTAVO_GROUP_BROKEN", "the group was aborted")


@pytest.mark.parametrize(
    ("rank", "own", "columns", "first", "code"),
    [
        (None, 4, 9, 0, "OCTAVO_BAD_ARGUMENT"),
        (None, 4, 4, 1, "OCTAVO_SHAPE_MISMATCH"),
        (0, 4, 9, 6, "OCTAVO_SHAPE_MISMATCH"),
        (0, 4, 9, 1, "OCTAVO_SHAPE_MISMATCH"),
        (0, 9, 9, 0, "OCTAVO_SHAPE_MISMATCH"),
        (1, 4, 9, 0, "OCTAVO_SHAPE_MISMATCH"),
        (1, 4, 9, 4, "OCTAVO_SHAPE_MISMATCH"),
        (1, 10, 9, 0, "OCTAVO_SHAPE_MISMATCH"),
    ],
)
def test_a_gather_of_columns_that_cannot_be_this_ranks_is_refused(
    worker: Orchestrator, rank: int | None, own: int, columns: int, first: int, code: str
) -> None:
    group = {}
    if rank is not None:
        worker.ask("group", **{**GROUP, "rank": rank})
        group = {"group": 5}
    assert worker.refusal("define", program=6, **group, **_gather(own, columns, first)) == code
    assert "(gather)" in worker.answers[-1][0].message


def _mappings(path: Path) -> int:
    """Of a file, in this process."""
    maps = Path("/proc/self/maps")
    return maps.read_text().count(str(path)) if maps.exists() else 0
