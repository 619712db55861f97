"""Ranks that gather: whatever else goes on, every rank has every rank's columns to the bit, or an error that says why.

The ranks are processes, and their memory a file, as in the product.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from octavo_kernels import ErrorCode, KernelError
from ranks.group import BYTES, LINE, PATIENT, Ranks, heard, numbers
from ranks.programs import Part, parts_of

pytestmark = pytest.mark.xdist_group("ranks")  # processes that wait for each other: not beside each other


def cut(whole: np.ndarray, parts: Sequence[Part]) -> list[np.ndarray]:
    return [np.ascontiguousarray(whole[:, part.first : part.first + part.own]) for part in parts]


def assert_gathered(answers: Sequence, expected: Sequence[np.ndarray]) -> None:
    """Every rank has every gather's whole, to the bit."""
    for rank, answer in enumerate(answers):
        assert not isinstance(answer, KernelError), f"rank {rank}: {answer}"
        for gathered, whole in zip(answer, expected, strict=True):
            np.testing.assert_array_equal(gathered.view(np.uint32), whole.view(np.uint32), f"rank {rank}")


def gathers(ranks: Ranks, widths: Sequence[Sequence[int]], rows: Sequence[int], **options) -> None:
    """Each gather of `widths` (columns of each rank), in one program; a step for each number of rows."""
    parts = [parts_of(one) for one in widths]
    ranks.define([list(of_rank) for of_rank in zip(*parts, strict=True)], max(rows), **options)
    for step, count in enumerate(rows):
        wholes = [numbers(count, sum(one), 100 * step + index) for index, one in enumerate(widths)]
        pieces = [cut(whole, one) for whole, one in zip(wholes, parts, strict=True)]
        assert_gathered(ranks.step([list(of_rank) for of_rank in zip(*pieces, strict=True)]), wholes)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("widths", [[40], [16, 16], [1, 33], [5, 64, 3], [16, 16, 16]], ids=str)
def test_every_rank_has_the_columns_of_all(ranks: Ranks, widths: list[int], threads: int):
    ranks.open(len(widths))
    gathers(ranks, [widths, list(reversed(widths)), [7] * len(widths)], [1, 5, 0, 17, 1, 0], threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_columns_of_wider_values_are_gathered(ranks: Ranks, threads: int):
    ranks.open(2)
    gathers(ranks, [[5, 12], [64, 1]], [1, 9, 3], threads=threads, wide=True)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("slot", [128, 4096, 200_000])
def test_more_rows_than_a_slot_holds_come_in_several_meetings(ranks: Ranks, slot: int, threads: int):
    """A slot of 128 bytes has 16 numbers: less than a row, and ranks have different numbers of rows in it."""
    ranks.open(2, size=4096 + 4 * slot)
    rows = [40, 1, 0, 7] if slot == 128 else [700, 1, 0, 333]
    gathers(ranks, [[300, 21], [1, 2]], rows, threads=threads)


def test_many_gathers_in_a_row(ranks: Ranks):
    ranks.open(3)
    gathers(ranks, [[3, 4, 5]] * 120, [1, 2] * 50)


@pytest.mark.parametrize("other", ["reference", "triton-interpreter"])
def test_ranks_may_be_of_different_backends(ranks: Ranks, other: str):
    ranks.open(2)
    gathers(ranks, [[16, 5], [3, 40]], [3, 0, 1, 8], backends=("cpu", other))
    ranks.open(2)
    gathers(ranks, [[16, 5], [3, 40]], [3, 0, 1, 8], backends=(other, "cpu"), threads=2, wide=True)


def test_numbers_of_meetings_wrap_around(ranks: Ranks):
    ranks.open(3, numbers=(1 << 32) - 7)
    gathers(ranks, [[3, 4, 5]] * 3, [1, 2, 3, 4, 5])
    assert int.from_bytes(os.pread(ranks.descriptor, 4, LINE), sys.byteorder) == 8


@pytest.mark.parametrize("kind", ["cpu", "reference", "triton-interpreter"])
def test_ranks_that_disagree_are_told_both_sides_and_their_group_is_done(ranks: Ranks, kind: str):
    wrong = {
        "T": ([Part(4, 0, 9), Part(5, 4, 9)], [2, 3]),
        "columns": ([Part(4, 0, 9), Part(6, 4, 10)], [2, 2]),
        "gap": ([Part(4, 0, 10), Part(5, 5, 10)], [2, 2]),
        "overlap": ([Part(5, 0, 9), Part(5, 4, 9)], [2, 2]),
    }
    for what, (parts, rows) in wrong.items():
        ranks.open(2)
        ranks.define([[part] for part in parts], 8, backends=("cpu", kind))
        arrays = [[numbers(count, part.own)] for count, part in zip(rows, parts, strict=True)]
        for rank, error in enumerate(ranks.step(arrays)):
            assert isinstance(error, KernelError), what
            assert error.code == ErrorCode.GROUP_BROKEN
            for side, part in enumerate(parts):
                text = f"columns {part.first}..{part.first + part.own - 1} of {part.columns} with T {rows[side]}"
                assert text in error.message or f"rank {1 - rank} gave up" in error.message
        for error in ranks.step(arrays):  # at once: nobody waits for what can not come
            assert isinstance(error, KernelError)
            assert error.code == ErrorCode.GROUP_BROKEN


def test_a_rank_at_another_gather_of_its_program_is_found_out(ranks: Ranks):
    first, second = ranks.open(2)
    part = parts_of([4, 4])
    ranks.define([[part[0]], [part[1], part[1]]], 4)
    arrays = [[numbers(2, 4)], [numbers(2, 4)] * 2]
    first.ask("step", arrays[0])
    second.ask("step", arrays[1])
    assert_gathered([heard(first)], [np.hstack([numbers(2, 4)] * 2)])
    first.ask("step", arrays[0])
    answers = [heard(first), heard(second)]
    assert all(isinstance(answer, KernelError) for answer in answers)
    assert any("to gather 0" in answer.message and "to gather 1" in answer.message for answer in answers)


def test_ranks_whose_memory_differs_in_size_are_found_out(ranks: Ranks):
    _, second = ranks.open(2)
    second.call("open", 1, 2, PATIENT, BYTES // 2)
    part = parts_of([4, 4])
    ranks.define([[part[0]], [part[1]]], 4)
    answers = ranks.step([[numbers(1, 4)], [numbers(1, 4)]])
    assert all(isinstance(answer, KernelError) for answer in answers)
    assert any("is at meeting 0" in answer.message for answer in answers)


@pytest.mark.parametrize("kind", ["cpu", "reference", "triton-interpreter"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_rank_that_waits_sees_that_its_group_was_aborted(ranks: Ranks, kind: str, threads: int):
    first, _ = ranks.open(2)
    part = parts_of([4, 4])
    ranks.define([[part[0]] * 2, [part[1]] * 2], 4, backends=(kind, "cpu"), threads=threads)
    first.ask("step", [numbers(1, 4)] * 2)
    ranks.abort(0)
    error = heard(first)
    assert isinstance(error, KernelError)
    assert (error.code, error.retryable) == (ErrorCode.GROUP_BROKEN, True)
    assert error.message == "the group was aborted while rank 0 waited for rank 1"
    for error in ranks.step([[numbers(1, 4)] * 2] * 2):  # the other rank's too, which has waited for nobody
        assert isinstance(error, KernelError)
        assert error.code == ErrorCode.GROUP_BROKEN


@pytest.mark.parametrize("threads", [1, 2])
def test_a_rank_that_never_comes_is_named_at_the_deadline(ranks: Ranks, threads: int):
    first, _, third = ranks.open(3, deadline_ms=100)
    part = parts_of([4, 4, 4])
    ranks.define([[one] for one in part], 4, threads=threads)
    first.ask("step", [numbers(1, 4)])
    third.ask("step", [numbers(1, 4)])
    messages = {str(heard(process)) for process in (first, third)}
    named = "rank 1 of 3 did not come to gather 0 within 100 ms"
    assert any(named in message for message in messages)
    assert all(named in message or "gave up" in message for message in messages)


def test_a_rank_that_was_killed_leaves_the_others_to_the_abort(ranks: Ranks):
    first, second, third = ranks.open(3)
    part = parts_of([4, 4, 4])
    ranks.define([[one] for one in part], 4)
    for process in (first, third):
        process.ask("step", [numbers(1, 4)])
    ranks.replace(1)
    ranks.abort(0, 2)
    for process in (first, third):
        error = heard(process)
        assert isinstance(error, KernelError)
        assert error.code == ErrorCode.GROUP_BROKEN
    for process in (first, third):
        process.call("close")
    ranks.open(3)  # with another process, in the same memory
    gathers(ranks, [[4, 4, 4]], [2, 1])
    assert second.process.poll() is not None


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs /proc")
def test_a_group_that_is_opened_again_and_again_takes_no_more_of_its_process(ranks: Ranks):
    held = []
    for _ in range(100):
        first, second = ranks.open(2)
        gathers(ranks, [[4, 4]], [1])
        for process in (first, second):
            process.call("close")
        held.append((first.call("held"), second.call("held")))
    assert held[-1] == held[10]
