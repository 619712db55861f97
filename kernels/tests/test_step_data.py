"""What only a step's data can tell: a wrong id or page is refused before it touches another sequence's memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from octavo_kernels import Backend, KernelError
from octavo_kernels.validate import step as step_checks
from octavo_kernels.validate.step import DataChecks
from proofs.conformance import Case, cases, run_program, single_op
from proofs.conformance.case import Prepared, prepared_tensors

TOKEN, BAD = "OCTAVO_TOKEN_OUT_OF_RANGE", "OCTAVO_BAD_ARGUMENT"


def _ordinary(op: str, **wanted: object) -> Case:
    """The ordinary case of an op, or the one whose only unusual choice is the wanted one."""
    label = " ".join(f"{name}={value}" for name, value in wanted.items()) or "ordinary"
    return next(case for case in cases(op) if case.name == f"{op}[{label}]")


def _put(operand: str, value: float, *at: int):
    def change(case: Case) -> Case:
        array = case.inputs[operand].copy()
        array[at or (0,)] = value
        return replace(case, inputs={**case.inputs, operand: array})

    return change


def _twice(case: Case) -> Case:
    return _put("slots", case.inputs["slots"][2], 1)(case)


# The ordinary cases: embed V=50, R=4, T=5. rope: 40 positions. append: 9 pages. rows: T=5. sample: S=4, V=50, R=9.
# attention: sequences (1 of 20), (5 of 5), (1 of 1), (3 of 40) in 9 pages, tables of 4.
WRONG = {
    "a token beyond the vocabulary": ("embed", {}, _put("tokens", 50), TOKEN),
    "a token before the sampled ones": ("embed", {}, _put("tokens", -5), TOKEN),
    "a smallest token": ("embed", {}, _put("tokens", -(2**31)), TOKEN),
    "a sampled token where nothing was sampled": ("embed", {"sampled": False}, _put("tokens", -1), TOKEN),
    "a slot of two tokens": ("append", {}, _twice, BAD),
    "a position beyond the tables": ("rope", {}, _put("positions", 40), BAD),
    "a negative position": ("rope", {}, _put("positions", -1), BAD),
    "a position of a fused rope": ("rope_append", {}, _put("positions", 40), BAD),
    "a slot beyond the pages": ("append", {}, _put("slots", 9 * 16), BAD),
    "a negative slot": ("append", {}, _put("slots", -1), BAD),
    "a slot of a fused append": ("rope_append", {}, _put("slots", 9 * 16), BAD),
    "a page beyond the last": ("attention", {}, _put("pages", 9, 3, 2), BAD),
    "a negative page": ("attention", {}, _put("pages", -1, 3, 2), BAD),
    "more keys than pages hold": ("attention", {}, _put("lengths", 65, 0), BAD),
    "more queries than keys": ("attention", {}, _put("lengths", 4, 1), BAD),
    "a negative length": ("attention", {}, _put("lengths", -1, 2), BAD),
    "starts that do not begin at 0": ("attention", {}, _put("starts", 1, 0), BAD),
    "starts that do not end at T": ("attention", {}, _put("starts", 9, 4), BAD),
    "starts beyond T": ("attention", {}, _put("starts", 11, 4), BAD),
    "starts that descend": ("attention", {}, _put("starts", 0, 2), BAD),
    "a row beyond the last": ("rows", {}, _put("index", 5), BAD),
    "a negative row": ("rows", {}, _put("index", -1), BAD),
    "starts of a pool that descend": ("pool", {}, _put("starts", 12, 1), BAD),
    "a target beyond the vocabulary": ("score", {}, _put("targets", 50), TOKEN),
    "a negative target": ("score", {}, _put("targets", -1), TOKEN),
    "a temperature below zero": ("sample", {}, _put("settings", -0.1, 0, 0), BAD),
    "a temperature that is no number": ("sample", {}, _put("settings", np.nan, 1, 0), BAD),
    "a top-p above one": ("sample", {}, _put("settings", 1.1, 0, 1), BAD),
    "a min-p below zero": ("sample", {}, _put("settings", -0.5, 0, 2), BAD),
    "a repetition penalty of zero": ("sample", {}, _put("settings", 0, 0, 3), BAD),
    "an infinite penalty": ("sample", {}, _put("settings", np.inf, 0, 4), BAD),
    "a penalty that is no number": ("sample", {}, _put("settings", np.nan, 0, 5), BAD),
    "a negative top-k": ("sample", {}, _put("counters", -1, 0, 0), BAD),
    "too many logprobs": ("sample", {}, _put("counters", 21, 0, 4), BAD),
    "fewer logprobs than none": ("sample", {}, _put("counters", -2, 0, 4), BAD),
    "a mask that is not there": ("sample", {}, _put("counters", 0, 0, 5), BAD),
    "a mask beyond the last": ("sample", {"masked": True}, _put("counters", 2, 0, 5), BAD),
    "a history that is cut wrongly": ("sample", {"penalties": True}, _put("historyStarts", 1, 0), BAD),
    "a history beyond the vocabulary": ("sample", {"penalties": True}, _put("history", 50), TOKEN),
    "a history before the sampled ids": ("sample", {"penalties": True}, _put("history", -10), TOKEN),
    "an answer that begins beyond the history": ("sample", {"penalties": True}, _put("counters", 7, 0, 6), BAD),
    "an answer that begins before the history": ("sample", {}, _put("counters", -1, 0, 6), BAD),
    "biases that are cut wrongly": ("sample", {"biased": True}, _put("biasStarts", 99, 2), BAD),
    "a bias of no id": ("sample", {"biased": True}, _put("biasIds", 50), TOKEN),
    "a bias of a negative id": ("sample", {"biased": True}, _put("biasIds", -1), TOKEN),
    "more groups of carries than there are": ("linear_int8", {}, _put("carries", 18, 1, 0), BAD),
    "a negative number of groups": ("linear_int8", {}, _put("carries", -1, 1, 0), BAD),
    "a group beyond the last": ("linear_int8", {}, _put("carries", 17, 2, 4), BAD),
    "a negative group": ("linear_int8", {}, _put("carries", -1, 2, 4), BAD),
    "a sum of other low digits": ("linear_int8", {}, _put("carries", 12345, 1, 1), BAD),
    "a sum of other high digits": ("linear_int8", {}, _put("carries", 12345, 0, 2), BAD),
    "carries that are not listed": ("linear_int8", {}, _put("carries", 0, 2, 0), BAD),
    "another low digit than was summed": ("linear_int8", {}, _put("low", 101, 1, 3), BAD),
    "a digit beyond the last column": ("linear_int8", {}, _put("high", 1, 1, -1), BAD),
    "a weight that is no number": ("quantize_weight", {}, _put("weight", np.nan, 3, 2), BAD),
}


def _run_refused(backend: Backend, prepared: Prepared) -> tuple[KernelError, bool]:
    """The refusal, and whether every tensor kept its bytes."""
    tensors = prepared_tensors(backend, prepared)
    before = {handle: tensor.memory.copy() for handle, tensor in tensors.items()}
    with pytest.raises(KernelError) as refused:
        run_program(backend, prepared, tensors)
    return refused.value, all((tensors[handle].memory == bytes_).all() for handle, bytes_ in before.items())


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_is_refused_before_any_effect(name: str, backend: Backend):
    op, wanted, change, code = WRONG[name]
    refused, unchanged = _run_refused(backend, single_op(change(_ordinary(op, **wanted))))
    assert refused.code == code, refused
    assert f"op 0 ({op})" in refused.message
    assert unchanged


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_of_many_rows_is_refused_in_the_same_words(name: str, backend: Backend, monkeypatch):
    op, wanted, change, _ = WRONG[name]
    prepared = single_op(change(_ordinary(op, **wanted)))
    few, _ = _run_refused(backend, prepared)
    monkeypatch.setattr(step_checks, "_MANY", 0)  # every array is one of many elements then
    many, unchanged = _run_refused(backend, prepared)
    assert (many.code, many.message) == (few.code, few.message) and unchanged


@pytest.mark.parametrize("places", ["handles", "columns"])
@pytest.mark.parametrize("name", ["a token beyond the vocabulary", "a page beyond the last", "a row beyond the last"])
def test_wrong_data_is_refused_wherever_it_lies(name: str, places: str, backend: Backend):
    op, wanted, change, code = WRONG[name]
    refused, unchanged = _run_refused(backend, single_op(replace(change(_ordinary(op, **wanted)), places=places)))
    assert refused.code == code and unchanged


def test_a_sampled_id_that_no_step_has_drawn_yet_is_refused(backend: Backend):
    """The tensor `sampled` before the first step may hold anything, as after a restart."""
    for held in (50, -2):
        case = _put("sampled", held, 2)(_put("tokens", -3)(_ordinary("embed")))
        refused, _ = _run_refused(backend, single_op(case))
        assert refused.code == TOKEN


def test_equal_checks_of_many_layers_are_made_once():
    spec = single_op(_ordinary("attention")).spec
    assert len(DataChecks(replace(spec, ops=spec.ops * 30))._checks) == len(DataChecks(spec)._checks) == 1


@pytest.mark.parametrize(
    ("sizes", "payload", "message"),
    [
        ({"T": 5}, 0, "payload of 0 bytes"),
        ({"T": 5}, 1363, "payload of 1363 bytes"),
        ({"T": 8}, 1364, "T is 8"),
        ({"T": -1}, 0, "T is -1"),
    ],
)
def test_steps_of_the_wrong_size_are_refused(sizes: dict, payload: int, message: str, backend: Backend):
    prepared = single_op(_ordinary("activate"))  # x [T, 65], limits T <= 7
    arena = backend.allocate("int8", "plain", (prepared.arena_bytes,))
    program = backend.define(prepared.spec, {}, arena)
    with pytest.raises(KernelError, match=message) as refused:
        program.step(sizes, memoryview(bytes(payload)))
    assert refused.value.code == BAD
    program.close()
