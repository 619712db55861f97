"""Backends for the tests: the reference, and the CPU on every instruction set of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from octavo_kernels import Backend, open_backend
from octavo_kernels.cpu.library import available_isas
from ranks.group import Ranks


@cache
def opened(name: str, isa: str | None = None, threads: int = 2) -> Backend:
    # On small tensors torch's threads cost more than they bring, and spin where others want to run.
    return open_backend(name, 1 if name == "reference" else threads, isa)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`isa`: each instruction set of the cpu backend. `backend`: each of these, and the reference."""
    if "isa" in metafunc.fixturenames:
        metafunc.parametrize("isa", available_isas())
    if "backend" in metafunc.fixturenames:
        names = [("reference", None), *(("cpu", isa) for isa in available_isas())]
        metafunc.parametrize("backend", names, indirect=True, ids=[isa or name for name, isa in names])


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    return opened(*request.param)


@pytest.fixture
def reference() -> Backend:
    return opened("reference")


@pytest.fixture
def cpu(isa: str) -> Backend:
    return opened("cpu", isa)


@pytest.fixture(scope="module")
def rank_processes() -> Iterator[Ranks]:
    ranks = Ranks()
    yield ranks
    ranks.end()


@pytest.fixture
def ranks(rank_processes: Ranks) -> Iterator[Ranks]:
    """Processes that a module's tests use again, each with a group of its own."""
    yield rank_processes
    for process in rank_processes.processes():
        process.call("close")
