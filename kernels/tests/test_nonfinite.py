"""NaN and infinity reach what a row answers, and no other row: else numbers that mean nothing look like an answer.

That backends agree is in test_conformance.py, whose cases hold such rows too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from octavo_kernels import Backend
from proofs.conformance import Case, Result, cases, run_case, run_program, single_op
from proofs.conformance.floats import widen

# Operands with a row of numbers for each row of the results.
_OPERANDS = {
    **dict.fromkeys(
        ("cast", "norm", "quantize", "linear_published", "linear_float", "rope", "activate", "rows"), ("x",)
    ),
    **dict.fromkeys(("norm_quantize",), ("x",)),
    **dict.fromkeys(("glu", "glu_quantize"), ("gate", "up")),
    **dict.fromkeys(("add", "add_norm_quantize"), ("a", "b")),
    **dict.fromkeys(("linear_int8", "dequantize"), ("step",)),
    **{"quantize_digits": ("x",), "sample": ("logits",), "score": ("logits", "reference"), "rope_append": ("q",)},
}
_ROW = 2
_CASES = 12


def _usable(op: str) -> list[Case]:
    """Cases with enough rows, all of them finite. `linear_published` only without outliers, which join its rows."""
    found = []
    for case in cases(op):
        names = [name for name in _OPERANDS[op] if name in case.inputs]
        if any(case.inputs[name].dtype.kind != "f" or case.inputs[name].shape[0] <= _ROW for name in names):
            continue
        if op == "linear_published" and case.attributes["threshold"] != 0:
            continue
        clean = {name: np.nan_to_num(case.inputs[name], nan=1, posinf=1, neginf=-1) for name in names}
        found.append(replace(case, inputs={**case.inputs, **clean}))
    return found[:_CASES]


def _marked(op: str, result: Result, row: int) -> bool:
    arrays = result.arrays
    if op == "sample":
        lost = np.isnan(arrays["logprob"][row]) and np.isnan(arrays["topLogprobs"][row]).all()
        return bool(arrays["ids"][row] == -1 and arrays["sampled"][row] == -1 and lost)
    if op == "score":
        return bool(np.isnan(arrays["nll"][row]) and np.isnan(arrays["kl"][row]) and arrays["top1"][row] == -1)
    if "step" in arrays:
        return bool(np.isnan(arrays["step"][row]))
    y = arrays["y"][row]
    return not np.isfinite(widen(y, "bfloat16") if y.dtype == np.uint16 else y).all()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("op", _OPERANDS)
def test_a_number_that_is_none_marks_its_row_and_no_other(op: str, number: float, backend: Backend):
    chosen = _usable(op)
    assert chosen
    for case in chosen:
        before = run_case(backend, case)
        for operand in _OPERANDS[op]:
            if operand not in case.inputs:
                continue
            array = case.inputs[operand].copy()
            places = case.inputs["index"] if op == "rows" else None
            array[(_ROW, array.shape[1] // 2) if array.ndim > 1 else _ROW] = number
            after = run_case(backend, replace(case, inputs={**case.inputs, operand: array}))
            rows = before.arrays[next(iter(case.outputs))].shape[0]
            for row in range(rows):
                source = row if places is None else int(places[row])
                where = f"{case.name}: row {row} of {operand} with {number} in row {_ROW}"
                if source == _ROW:
                    assert _marked(op, after, row), where
                else:
                    assert _same(before, after, row, case), where


def _same(before: Result, after: Result, row: int, case: Case) -> bool:
    for name in case.outputs:
        a, b = before.arrays[name][row], after.arrays[name][row]
        if name == "carries":
            a, b = a[: 4 + a[0]], b[: 4 + a[0]]
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            return False
    return True


_LARGEST = {("int16", "k"): 4095, ("int16", "v"): 2047, ("int8", "k"): 127, ("int8", "v"): 127}


@pytest.mark.parametrize("operand", ["k", "v"])
@pytest.mark.parametrize("op", ["append", "rope_append"])
def test_pages_hold_integers_and_a_step_which_is_nan_where_a_row_cannot_be_held(
    op: str, operand: str, backend: Backend
):
    for case in cases(op):
        if op == "rope_append" and operand == "k":
            continue  # turned: test_a_fused_op_equals_its_parts
        name = "keys" if operand == "k" else "values"
        before, after = case.inputs, run_case(backend, case).arrays
        heads, head_dim = (int(case.attributes[size]) for size in ("kvHeads", "headDim"))
        pages, steps = before[name].copy(), before["steps"].copy()
        halves = pages.reshape(-1, heads, head_dim // 2, 16, 2) if operand == "k" else None
        pairs = pages.reshape(-1, heads, 8, head_dim, 2)
        largest = np.float32(_LARGEST[case.dtypes[name], operand])
        for x, slot in zip(before[operand].reshape(-1, heads, head_dim), before["slots"], strict=True):
            page, at = divmod(slot, 16)
            for head, row in enumerate(x):
                size = np.abs(row).max()
                held = size < 2.0**50  # not so with NaN
                size = np.maximum(size, np.float32(2.0**-60)) if held else np.float32(1)
                integers = np.rint(row * (largest / size)) if held else np.zeros(head_dim)
                steps[page, head, at + 16 * (operand == "v")] = size / largest if held else np.nan
                if halves is not None:
                    halves[page, head, :, at] = integers.reshape(-1, 2)
                else:
                    pairs[page, head, at // 2, :, at % 2] = integers
        assert np.array_equal(after[name], pages), case.name
        mine = slice(16, 32) if operand == "v" else slice(16)
        assert np.array_equal(after["steps"][..., mine], steps[..., mine], equal_nan=True), case.name


def test_a_row_that_pages_cannot_hold_reaches_who_sees_it_and_large_scores_stay_numbers(backend: Backend):
    # But for scales that make scores of ordinary numbers infinite.
    spoilt = [case for case in cases("attention") if "spoilt=" in case.name and float(case.attributes["scale"]) < 1e38]
    assert len({case.name.partition("spoilt=")[2] for case in spoilt}) > 5
    for case in spoilt:
        starts = case.inputs["starts"]
        y = run_case(backend, case).arrays["y"]
        for b in range(starts.size - 1):
            rows = y[starts[b] : starts[b + 1]]
            if b % 2 == 1 or "scores" in case.name:
                assert np.isfinite(rows).all(), f"{case.name}: sequence {b}"
            elif rows.shape[0]:
                # The last query sees the last key, which is spoilt; the query is the first one's.
                mine = rows[0] if "query" in case.name else rows[-1]
                assert not np.isfinite(mine).all(), f"{case.name}: sequence {b}"


@pytest.mark.parametrize("kind", ["mean", "last"])
@pytest.mark.parametrize("normalize", [False, True])
def test_an_embedding_of_nan_or_of_too_large_numbers_is_not_zeros(kind: str, normalize: bool, backend: Backend):
    for number in (np.nan, np.inf, -np.inf, 1e25):
        x = np.ones((4, 70), np.float32)
        x[3, 69] = number
        inputs = {"x": x, "starts": np.array([0, 2, 4], np.int32)}
        case = Case("pool", "pool", inputs, {"x": "float32", "starts": "int32"}, {"y": ("float32", (2, 70))})
        result = run_case(backend, replace(case, attributes={"kind": kind, "normalize": normalize}))
        y = result.arrays["y"]
        assert np.isfinite(y[0]).all()
        assert np.isfinite(y[1]).all() == (number == 1e25 and not normalize)
        assert result.counters.nonfinite == 1 - np.isfinite(y[1]).all()


def test_a_norm_whose_squares_overflow_is_not_zeros(backend: Backend):
    for case in cases("norm")[:6]:
        x = case.inputs["x"].copy()
        if x.shape[0] < 2 or x.shape[1] < 2:
            continue
        x[1, 1] = 1e25
        y = run_case(backend, replace(case, inputs={**case.inputs, "x": x})).arrays["y"]
        assert np.isnan(y[1]).all() and np.isfinite(y[0]).all(), case.name


def test_what_was_drawn_from_no_numbers_is_no_token(backend: Backend):
    """The next step may be under way already: it reads nothing but NaN for it, and counts it nowhere."""
    for case in cases("embed"):
        sampled = case.inputs.get("sampled")
        if sampled is None or not case.inputs["tokens"].size:
            continue
        y = run_case(backend, case).arrays["y"]
        for t, token in enumerate(case.inputs["tokens"].tolist()):
            drawn = sampled[-1 - token] if token < 0 else token
            assert np.isnan(y[t]).all() == (drawn < 0), case.name


def _flagged(backend: Backend, case: Case) -> bool:
    """Whether a step that looks at what its ops write says that this one has written NaN or infinity."""
    return run_program(backend, single_op(case), check=True).nonfinite == [1]


@pytest.mark.parametrize("op", [op for op in _OPERANDS if op != "rope_append"])
def test_a_step_that_is_asked_finds_the_op(op: str, backend: Backend):
    case = _usable(op)[0]
    assert not _flagged(backend, case)
    operand = _OPERANDS[op][0]
    array = case.inputs[operand].copy()
    row = int(case.inputs["index"][0]) if op == "rows" else _ROW
    array[(row, array.shape[1] // 2) if array.ndim > 1 else row] = np.nan
    spoilt = replace(case, inputs={**case.inputs, operand: array})
    assert _flagged(backend, spoilt)


@pytest.mark.parametrize("op", ["append", "rope_append"])
def test_a_step_that_is_asked_finds_rows_that_the_pages_cannot_hold(op: str, backend: Backend):
    assert _flagged(backend, cases(op)[0])
    case = cases(op)[0]
    small = {name: np.clip(np.nan_to_num(case.inputs[name]), -9, 9) for name in ("k", "v")}
    assert not _flagged(backend, replace(case, inputs={**case.inputs, **small}))
