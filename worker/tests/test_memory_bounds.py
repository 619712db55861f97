"""What a message asks for is held against the memory that is there before it is taken: else the system ends the worker,
and every request of the engine with it."""

from __future__ import annotations

import pytest
from octavo_worker import machine
from octavo_worker.generated import messages as wire

from .conftest import SIZES, Orchestrator

MIB = 1 << 20


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 MiB are available, and whatever is given stays untouched."""
    monkeypatch.setattr(machine, "memory_available", lambda: 200 * MIB)
    monkeypatch.setattr(machine, "process_memory", lambda: machine.ProcessMemory(50 * MIB, 40 * MIB))


def test_many_small_allocations_are_held_against_what_is_there(orchestrator: Orchestrator) -> None:
    """Each alone would fit: Linux gives them all, and kills when they are written."""
    made = 0
    for handle in range(1, 100):
        reply = orchestrator.allocate(handle, "int8", 20 * MIB)
        if isinstance(reply, wire.Error):
            assert (reply.code, reply.retryable) == ("OCTAVO_OUT_OF_MEMORY", True)  # as the error table says
            assert f"{20 * MIB} bytes wanted" in reply.message
            break
        made += 1
    assert 9 <= made <= 13
    statistics = orchestrator.ask("stats").statistics
    assert (statistics.handles, statistics.handleBytes) == (made, made * 20 * MIB)
    orchestrator.ask("free", handles=list(range(1, made + 1)))
    assert isinstance(orchestrator.allocate(1, "int8", 150 * MIB), wire.Ok)


def test_a_description_tells_what_is_available_now(orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The orchestrator reads a model while the worker starts: by a plan for what was there before it dies."""
    assert orchestrator.ask("describe").description.memoryAvailable == 200 * MIB
    monkeypatch.setattr(machine, "memory_available", lambda: 130 * MIB)
    assert orchestrator.ask("describe").description.memoryAvailable == 130 * MIB


def test_scratch_space_counts(orchestrator: Orchestrator) -> None:
    """Programs share it; one that is refused leaves nothing, and the last one that is freed gives it back."""
    orchestrator.backend.scratch = 150 * MIB
    assert isinstance(orchestrator.define(1), wire.Ok)
    assert orchestrator.refusal("allocate", handles=[_tensor(2, 100 * MIB)]) == "OCTAVO_OUT_OF_MEMORY"
    orchestrator.backend.scratch = 160 * MIB
    refused = orchestrator.define(3)
    assert (refused.code, orchestrator.ask("stats").statistics.handles) == ("OCTAVO_OUT_OF_MEMORY", 1)
    assert f"{160 * MIB} bytes wanted, {50 * MIB} available" in refused.message
    orchestrator.backend.scratch = 100 * MIB
    assert orchestrator.define(4).workspace == 150 * MIB
    assert orchestrator.ask("stats").statistics.handleBytes == 150 * MIB
    assert orchestrator.ask("free", handles=[1]).workspace == 150 * MIB
    assert orchestrator.ask("free", handles=[4]).workspace == 0
    assert isinstance(orchestrator.allocate(2, "int8", 100 * MIB), wire.Ok)


def test_an_arena_that_also_holds_a_value_is_refused(orchestrator: Orchestrator) -> None:
    """What was looked at before the step would be written over by its intermediates, and then be an index."""
    orchestrator.allocate(1, "int8", 64)
    value = {"dtype": "int8", "layout": "plain", "shape": [], "place": {"type": "handle", "handle": 1}}
    fields = {"limits": SIZES, "values": [value], "ops": [], "inputs": [], "outputs": []}
    assert orchestrator.refusal("define", program=2, arena=1, **fields) == "OCTAVO_BAD_ARGUMENT"
    assert orchestrator.ask("stats").statistics.handles == 1


def _tensor(handle: int, size: int) -> dict:
    return {"handle": handle, "dtype": "int8", "layout": "plain", "shape": [size]}
