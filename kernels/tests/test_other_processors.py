"""Bits do not depend on the kind of processor: a model answers alike on a laptop with ARM cores and an x86 server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from octavo_kernels import Backend
from proofs.conformance import cases, identical, run_case
from proofs.conformance.domains import DOMAINS

from .conftest import opened
from .emulated.backend import EmulatedBackend, missing_tools

pytestmark = [
    pytest.mark.skipif(
        bool(missing_tools()),
        reason=f"aarch64 is emulated here with {' and '.join(missing_tools())}: "
        "apt-get install g++-aarch64-linux-gnu qemu-user",
    ),
    pytest.mark.xdist_group("aarch64"),  # The driver takes a while to build: one process.
]


@pytest.fixture(scope="module", params=["scalar", "neon", "dotprod"])
def emulated(request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = EmulatedBackend(opened("cpu"), request.param, threads=2)
    yield backend
    backend.close()


@pytest.mark.parametrize("op", DOMAINS)
def test_an_aarch64_processor_gives_the_bits_of_this_one(op: str, emulated: Backend):
    host = opened("cpu")
    wrong = [case.name for case in cases(op) if identical(case, run_case(emulated, case), run_case(host, case))]
    assert not wrong, f"{len(wrong)} cases differ: {wrong[:10]}"
