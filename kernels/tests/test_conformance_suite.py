"""The suite itself: a backend that is wrong by one bit anywhere must not pass it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from octavo_kernels.generated.ops import OPS
from proofs.conformance import Case, Result, cases, differences, identical, run_case
from proofs.conformance.domains import DOMAINS
from proofs.conformance.generate import _axes

from .conftest import opened


def _ordinary(op: str) -> tuple[Case, Result]:
    case = next(case for case in cases(op) if case.name == f"{op}[ordinary]")
    return case, run_case(opened("cpu"), case)


def _changed(result: Result, name: str) -> Result:
    """One bit of the first element is another one."""
    array = result.arrays[name].copy()
    array.reshape(-1).view(np.uint8)[0] ^= 1
    return replace(result, arrays={**result.arrays, name: array})


@pytest.mark.parametrize("op", DOMAINS)
def test_one_wrong_bit_is_found(op: str):
    case, result = _ordinary(op)
    assert identical(case, result, result) == []
    bounded = {"sample": {"logprob", "topLogprobs"}, "score": {"nll", "kl"}}.get(op, set())
    for name, array in result.arrays.items():
        if array.dtype.kind == "f" and np.isnan(array.reshape(-1)[0]):
            continue  # another NaN is as good
        wrong = _changed(result, name)
        assert identical(case, wrong, result), name
        assert differences(case, wrong, result) or name in bounded, name


def test_all_ops_have_cases_but_those_that_take_two_ranks():
    assert set(OPS) - set(DOMAINS) == {"send", "receive"}  # tests/test_group_stages.py


def test_numbers_outside_their_bound_are_found():
    case, result = _ordinary("score")
    wrong = replace(result, arrays={**result.arrays, "nll": result.arrays["nll"] * np.float32(1.0001)})
    assert differences(case, wrong, result)


def test_what_an_op_leaves_unwritten_is_found():
    """Memory holds NaN or -1 before; a row that a kernel forgets stays so."""
    case, result = _ordinary("norm")
    array = result.arrays["y"].copy()
    array[-1, -1] = np.nan
    assert identical(case, replace(result, arrays={"y": array}), result)


def test_wrong_counters_are_found():
    case, result = _ordinary("quantize")
    assert result.counters.quantized > 0
    assert identical(case, replace(result, counters=replace(result.counters, carries=-1)), result)


def test_what_is_not_specified_is_not_compared():
    case, result = _ordinary("quantize")
    carries = result.arrays["carries"].copy()
    carries[0, 4 + carries[0, 0] :] = 77
    assert identical(case, replace(result, arrays={**result.arrays, "carries": carries}), result) == []


@pytest.mark.parametrize("op", DOMAINS)
def test_every_choice_of_every_axis_is_in_some_case(op: str):
    ordinary, others = f"{op}[ordinary]", {case.name for case in cases(op)}
    assert ordinary in others and len(others) == len(cases(op))
    for name, values in _axes(op).items():
        for index, value in enumerate(values[1:], 1):
            label = f"#{index}" if isinstance(value, tuple) else value
            assert f"{op}[{name}={label}]" in others


def test_cases_are_the_same_every_time():
    first, second = (cases("linear_int8") for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.name == b.name and all((a.inputs[name] == b.inputs[name]).all() for name in a.inputs if name != "step")
