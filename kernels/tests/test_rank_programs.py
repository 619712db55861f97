"""Programs that were cut into ranks, each with its part of the weights, against the whole one by the definitions. If
these fail, a model on several devices is another model than on one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from octavo_kernels import Backend, open_backend, open_group
from proofs.gpu_check.programs import STEPS
from proofs.programs import folder
from proofs.programs.contents import files_of
from proofs.programs.file import Program
from proofs.programs.runner import Runner
from proofs.programs.steps import step_data

#: What ranks share, and how long one waits for another that is on the same few cores.
SHARED_BYTES, DEADLINE_MS = 1 << 20, 60_000
FIRST = "rank-0-of-"
#: Where it was cut does not depend on what it runs on: one case is enough for other backends.
MIXED = "2_1-odd"


class Ranks:
    """Programs of all ranks in threads, each with a backend of its own."""

    def __init__(self, backends: Sequence[str], programs: Sequence[Program], whole: Program) -> None:
        room = np.zeros(SHARED_BYTES + 4096, np.uint8)
        start = -room.ctypes.data % 4096
        files, ranks = files_of(whole), len(programs)
        self._first = programs[0]
        self.runners = [
            Runner(
                open_backend(backend, 1),
                program,
                files,
                open_group(room[start : start + SHARED_BYTES], rank, ranks, DEADLINE_MS),
            )
            for rank, (backend, program) in enumerate(zip(backends, programs, strict=True))
        ]
        self._threads = ThreadPoolExecutor(ranks)

    def step(self, *rows) -> list[dict[str, np.ndarray]]:
        sizes, payload = step_data(self._first, rows)
        steps = [self._threads.submit(runner.run, sizes, payload) for runner in self.runners]
        return [step.result()[0] for step in steps]


def ranks_of(name: str) -> list[Program]:
    """`name`: "2_1-odd", the shares and what is cut."""
    count = len(name.split("-")[0].split("_"))
    return [folder.exported(f"rank-{rank}-of-{name}") for rank in range(count)]


def whole_of(name: str) -> Program:
    return folder.exported(f"whole-{name.split('-', 1)[1]}")


def heads(runner: Runner, name: str, program: Program) -> np.ndarray:
    """A state [pages, kv heads, ...] as bytes of each page and head."""
    shape = next(one.shape for one in program.parameters if one.name == name)
    return np.frombuffer(runner.states()[name], np.uint8).reshape(shape[0], shape[1], -1)


def check(name: str, backends: Sequence[str], reference: Backend) -> None:
    programs, whole = ranks_of(name), whole_of(name)
    one, ranks = Runner(reference, whole, files_of(whole)), Ranks(backends, programs, whole)
    for rows in STEPS:
        expected, _ = one.step(*rows)
        found, *others = ranks.step(*rows)
        assert others == [{}] * len(others)
        assert found.keys() == expected.keys()
        for what in ("ids", "logits", "topIds", "top1"):
            if what in expected:
                assert found[what].tobytes() == expected[what].tobytes(), what
        for what in set(expected) & {"logprob", "topLogprobs", "nll", "kl"}:
            # A float64 logarithm, which the definition leaves to the library.
            np.testing.assert_allclose(found[what], expected[what], rtol=1e-6, atol=1e-6, err_msg=what)
    expected = one.states()
    for parameter in whole.parameters:
        if parameter.source["type"] != "state":
            continue
        if parameter.source["kind"] == "io":
            assert all(runner.states()[parameter.name] == expected[parameter.name] for runner in ranks.runners)
            continue
        all_heads = heads(one, parameter.name, whole)
        own = [heads(*each) for each in zip(ranks.runners, [parameter.name] * len(programs), programs, strict=True)]
        # In order; ranks that share a kv head have the same.
        at = 0
        for part in own:
            while not np.array_equal(part, all_heads[:, at : at + part.shape[1]]):
                at += 1
                assert at < all_heads.shape[1], parameter.name
        assert at + own[-1].shape[1] == all_heads.shape[1]


CASES = [name.removeprefix(FIRST) for name in folder.names(FIRST)]


@pytest.mark.parametrize("name", CASES)
def test_ranks_on_cpus_answer_as_one_device(name: str, reference: Backend):
    check(name, ["cpu"] * len(ranks_of(name)), reference)


@pytest.mark.parametrize("backends", [("cpu", "reference"), ("reference", "cpu"), ("reference", "reference")])
def test_ranks_on_any_backends_answer_as_one_device(backends: tuple[str, str], reference: Backend):
    check(MIXED, backends, reference)
