"""Whatever comes, a worker answers it, lives, stays within its memory, and instruction sets agree: else a wrong program
would end every request of an engine, or read another's memory. tools/sanitize.sh has more and looks closer."""

from __future__ import annotations

from pathlib import Path

import pytest
from octavo_kernels.cpu.library import available_isas

from .fuzz.process import WorkerProcess
from .fuzz.run import run

# A net: a worker that asks for more ends, and the test with it.
_ADDRESSES = 6 << 30


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_random_programs_and_messages_are_answered_alike_and_leave_nothing():
    isas = dict.fromkeys((available_isas()[0], available_isas()[-1]))
    workers = [WorkerProcess(isa, threads, _ADDRESSES) for isa, threads in zip(isas, (1, 2), strict=False)]
    try:
        answers = run(first=0, cases=250, workers=workers)
        statistics = [worker.ask({"kind": "stats"})[0]["statistics"] for worker in workers]
    finally:
        texts = [worker.close() for worker in workers]
    assert all("Traceback" not in text for text in texts)
    assert answers["step ok"] > 20 and answers["define ok"] > 40 and answers["define OCTAVO_SHAPE_MISMATCH"] > 5, (
        answers
    )
    assert all(found["anonymous"] < 1 << 30 for found in statistics)
