"""Stages that send rows on: a rank has what the stage before its own sent, to the bit, or an error that says why."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np
import pytest
from octavo_kernels import ErrorCode, KernelError
from ranks.group import LINE, Ranks, heard, numbers
from ranks.programs import parts_of
from ranks.stages import Stage

pytestmark = pytest.mark.xdist_group("ranks")  # processes that wait for each other: not beside each other

#: Bytes of the word in a rank's line.
_SENT, _READ = 4, 8


def chain(stages: int, widths: Sequence[int]) -> list[Stage]:
    """A rank has so many of the columns; each stage gathers those of its ranks and sends them all."""
    parts, columns = parts_of(widths), sum(widths)
    found = []
    for stage in range(stages):
        sends = stage + 1 < stages
        if len(widths) == 1:
            found.append(Stage(columns, stage > 0, None, sends))
        else:
            found += [Stage(columns if stage > 0 else part.own, stage > 0, part, sends) for part in parts]
    return found


def arrays(whole: np.ndarray, stages: int, widths: Sequence[int]) -> list[list[np.ndarray]]:
    first = [[np.ascontiguousarray(whole[:, part.first : part.first + part.own])] for part in parts_of(widths)]
    return first + [[np.zeros_like(whole)] for _ in range((stages - 1) * len(widths))]


def assert_passed_on(ranks: Ranks, rows: Sequence[int], stages: int, widths: Sequence[int]) -> None:
    """A step for each number of rows, all sent before the first is answered: stages may run ahead of each other."""
    wholes = [numbers(count, sum(widths), step) for step, count in enumerate(rows)]
    for whole in wholes:
        for process, given in zip(ranks.processes(), arrays(whole, stages, widths), strict=True):
            process.ask("step", given)
    for step, whole in enumerate(wholes):
        for rank, process in enumerate(ranks.processes()):
            answer = heard(process)
            if rank == 0 and len(widths) == 1:
                assert answer == []  # what it sends came with the step
            else:
                assert_rows(answer, whole, f"step {step}, rank {rank}")


def assert_rows(answer, expected: np.ndarray, where: str = "") -> None:
    """Of one array, to the bit."""
    assert not isinstance(answer, KernelError), f"{where}: {answer}"
    np.testing.assert_array_equal(answer[0].view(np.uint32), expected.view(np.uint32), where)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("stages", "widths"), [(2, [8]), (3, [5]), (2, [3, 16]), (3, [1, 7]), (2, [4, 1, 2])])
def test_every_rank_of_a_stage_has_the_rows_of_the_one_before(
    ranks: Ranks, stages: int, widths: list[int], threads: int
):
    ranks.open(stages * len(widths), stages=stages)
    ranks.define_stages(chain(stages, widths), 17, threads=threads)
    assert_passed_on(ranks, [1, 5, 0, 17, 1, 0, 3, 2], stages, widths)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("slot", [128, 4096, 150_000])
def test_more_rows_than_a_slot_holds_come_in_several_messages(ranks: Ranks, slot: int, threads: int):
    """A slot of 128 bytes has 16 numbers: less than a row."""
    ranks.open(2, size=4096 + 6 * slot, stages=2)
    ranks.define_stages(chain(2, [33]), 2000, threads=threads)
    assert_passed_on(ranks, [40, 1, 0, 7] if slot == 128 else [2000, 1, 0, 333], 2, [33])


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("backends", [("cpu", "reference"), ("reference", "cpu"), ("triton-interpreter", "cpu")])
def test_stages_may_be_of_different_backends(ranks: Ranks, backends: tuple[str, str], wide: bool):
    ranks.open(3, stages=3)
    ranks.define_stages(chain(3, [20]), 8, backends=backends, wide=wide)
    assert_passed_on(ranks, [3, 0, 1, 8], 3, [20])


def test_numbers_of_messages_wrap_around(ranks: Ranks):
    ranks.open(4, numbers=(1 << 32) - 3, stages=2)
    ranks.define_stages(chain(2, [3, 4]), 5)
    assert_passed_on(ranks, [1, 2, 3, 4, 5, 1, 2], 2, [3, 4])
    assert _word(ranks, 0, _SENT) == _word(ranks, 2, _READ) == _word(ranks, 3, _READ) == 4


def test_a_stage_runs_at_most_two_messages_ahead(ranks: Ranks):
    first, second = ranks.open(2, stages=2)
    ranks.define_stages(chain(2, [4]), 4)
    for count in (1, 2, 3):
        first.ask("step", [numbers(count, 4)])
    assert [heard(first), heard(first)] == [[], []]
    assert _word(ranks, 0, _SENT) == 2
    second.ask("step", [numbers(1, 4)])
    assert_rows(heard(second), numbers(1, 4))
    assert heard(first) == []  # the third one had waited for a slot
    for count in (2, 3):
        second.ask("step", [numbers(count, 4)])
        assert_rows(heard(second), numbers(count, 4))


@pytest.mark.parametrize("kind", ["cpu", "reference", "triton-interpreter"])
def test_stages_that_disagree_are_told_both_sides(ranks: Ranks, kind: str):
    for columns, rows in ((4, 3), (5, 2)):
        ranks.open(2, stages=2)
        stages = [Stage(4, False, None, True), Stage(columns, True, None, False)]
        ranks.define_stages(stages, 8, backends=("cpu", kind))
        _, error = ranks.step([[numbers(2, 4)], [numbers(rows, columns)]])
        assert isinstance(error, KernelError)
        assert error.code == ErrorCode.GROUP_BROKEN
        assert "rank 0 sends 4 columns with T 2 as its number 0" in error.message
        assert f"rank 1 receives {columns} columns with T {rows} as its number 0" in error.message
        after, _ = ranks.step([[numbers(2, 4)], [numbers(rows, columns)]])  # at once
        assert isinstance(after, KernelError)
        assert after.code == ErrorCode.GROUP_BROKEN


@pytest.mark.parametrize("threads", [1, 2])
def test_who_waits_sees_that_the_group_was_aborted(ranks: Ranks, threads: int):
    first, second = ranks.open(2, stages=2)
    ranks.define_stages(chain(2, [4]), 4, threads=threads)
    for _ in range(3):
        first.ask("step", [numbers(1, 4)])
    assert [heard(first), heard(first)] == [[], []]
    ranks.abort()
    error = heard(first)
    assert isinstance(error, KernelError)
    # It may not have begun to wait.
    assert error.message in ("the group was aborted", "the group was aborted while rank 0 waited for rank 1")
    ranks.open(2, stages=2)
    ranks.define_stages(chain(2, [4]), 4, threads=threads)
    second.ask("step", [numbers(1, 4)])
    ranks.abort()
    error = heard(second)
    assert isinstance(error, KernelError)
    assert error.message in ("the group was aborted", "the group was aborted while rank 1 waited for rank 0")


def test_a_stage_that_never_comes_is_named_at_the_deadline(ranks: Ranks):
    _, _, third = ranks.open(3, deadline_ms=100, stages=3)
    ranks.define_stages(chain(3, [4]), 4)
    third.ask("step", [numbers(1, 4)])
    assert heard(third).message == "rank 1 of 3 did not send to rank 2 within 100 ms"
    first, _ = ranks.open(2, deadline_ms=100, stages=2)
    ranks.define_stages(chain(2, [4]), 4)
    for _ in range(3):
        first.ask("step", [numbers(1, 4)])
    assert [heard(first), heard(first)] == [[], []]
    assert heard(first).message == "rank 1 of 2 did not read what rank 0 has sent within 100 ms"


@pytest.mark.parametrize("threads", [1, 3])
def test_a_stage_that_waits_takes_no_processor_time(ranks: Ranks, threads: int):
    """Half a second of waiting in each thread would be as much of the processor, were it awake."""
    first, second = ranks.open(2, stages=2)
    ranks.define_stages(chain(2, [4]), 4, threads=threads)
    before = second.call("usage")
    second.ask("step", [numbers(1, 4)])
    time.sleep(0.5)
    first.ask("step", [numbers(1, 4)])
    assert heard(first) == []
    assert_rows(heard(second), numbers(1, 4))
    assert second.call("usage") - before < 0.25


@pytest.mark.parametrize(
    ("rank", "stage", "what"),
    [
        (0, Stage(4, True, None, False), "op 0 (receive): stage 0 of 2 has none there"),
        (1, Stage(4, True, None, True), "op 1 (send): stage 1 of 2 has none there"),
    ],
)
def test_a_stage_that_nobody_stands_beside_is_refused(ranks: Ranks, rank: int, stage: Stage, what: str):
    process = ranks.open(2, stages=2)[rank]
    with pytest.raises(KernelError) as refused:
        process.call("define_stage", "cpu", 1, stage, 4, False)
    assert (refused.value.code, refused.value.message) == (ErrorCode.BAD_ARGUMENT, what)


def _word(ranks: Ranks, rank: int, at: int) -> int:
    return int.from_bytes(os.pread(ranks.descriptor, 4, LINE * (rank + 1) + at), "little")
