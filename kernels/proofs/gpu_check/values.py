"""Every op on a backend against its definition, over the generated conformance cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from octavo_kernels.backend import Backend

from ..conformance import cases, differences, run_case


@dataclass(frozen=True)
class OpResult:
    """`wrong`: what differs, by case; empty when every bit is right."""

    op: str
    cases: int
    wrong: list[str]


def check_ops(backend: Backend, reference: Backend, ops: Iterable[str]) -> Iterator[OpResult]:
    """One result per op, as soon as it is known. A case that raises is a wrong one."""
    for op in ops:
        every = cases(op)
        wrong = []
        for case in every:
            try:
                texts = differences(case, run_case(backend, case), run_case(reference, case))
            except Exception as error:  # A kernel that does not compile must not hide the other ops' results.
                texts = [f"{type(error).__name__}: {error}"]
            wrong += [f"{case.name}: {text}" for text in texts]
        yield OpResult(op, len(every), wrong)
