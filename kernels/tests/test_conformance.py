"""Every backend answers every generated case alike; otherwise a model's output depends on the machine."""

from __future__ import annotations

from functools import cache

import pytest
from octavo_kernels import Backend
from octavo_kernels.generated.ops import OPS
from proofs.conformance import (
    Case,
    Result,
    cases,
    differences,
    identical,
    run_case,
    run_program,
    single_op,
    unfused,
)
from proofs.conformance.domains import DOMAINS

from .conftest import opened

_FUSED = [op for op, table in OPS.items() if table.fuses]


@cache
def _cases(op: str) -> list[Case]:
    return cases(op)


@cache
def _expected(op: str, index: int) -> Result:
    return run_case(opened("reference"), _cases(op)[index])


def _report(found: dict[str, list[str]]) -> str:
    lines = [f"{name}: {'; '.join(texts)}" for name, texts in found.items() if texts]
    return "\n".join([f"{len(lines)} of {len(found)} cases differ", *lines[:20]]) if lines else ""


@pytest.mark.parametrize("op", DOMAINS)
def test_the_cpu_answers_as_the_reference(op: str, cpu: Backend):
    found = {
        case.name: differences(case, run_case(cpu, case), _expected(op, index)) for index, case in enumerate(_cases(op))
    }
    assert not _report(found), _report(found)


@pytest.mark.parametrize("op", DOMAINS)
def test_bits_depend_neither_on_the_instruction_set_nor_on_threads(op: str, isa: str):
    one_thread, team = opened("cpu", "scalar", 1), opened("cpu", isa, 3)
    found = {case.name: identical(case, run_case(team, case), run_case(one_thread, case)) for case in _cases(op)}
    assert not _report(found), _report(found)


@pytest.mark.parametrize("op", _FUSED)
def test_a_fused_op_equals_its_parts(op: str, backend: Backend):
    found = {
        case.name: identical(case, run_program(backend, single_op(case)), run_program(backend, unfused(case)))
        for case in _cases(op)
    }
    assert not _report(found), _report(found)
