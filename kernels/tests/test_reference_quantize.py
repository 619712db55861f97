"""LLM.int8() in integers by its promises (docs/numerics.md): were one broken, products would be wrong or overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from octavo_kernels.reference.linear import multiply_int8
from octavo_kernels.reference.quantize import quantize, quantize_digits, quantize_weight, row_inliers, row_statistics
from proofs.conformance.rows import EDGES, edges, ordinary

_DECOMPOSE = ("off", "threshold", "adaptive", "all")


def _quantize(x: np.ndarray, decompose: str = "adaptive", absolute: float = 6.0, relative: float = 6.0) -> dict:
    found = quantize(x=torch.from_numpy(x), decompose=decompose, absolute=absolute, relative=relative)
    return {name: value.numpy() for name, value in found.items()}


def _integers(found: dict, columns: int) -> np.ndarray:
    return 255 * found["high"][:, :columns].astype(np.int64) + found["low"][:, :columns]


def _check_promises(x: np.ndarray, decompose: str) -> None:
    found = _quantize(x, decompose)
    columns = x.shape[1]
    finite = np.isfinite(found["step"])
    v = _integers(found, columns)
    assert (np.abs(found["low"].astype(int)) <= 127).all() and (np.abs(found["high"].astype(int)) <= 127).all()
    assert (254 * np.abs(v).sum(1) < 2**31).all(), "a partial sum could overflow int32"
    assert (v[~finite] == 0).all()
    wide, step = x[finite].astype(np.float64), found["step"][finite].astype(np.float64)[:, None]
    # rint is within 1/2. The step, the inverse and their product are each rounded by 2^-24: 4 * 2^-24 of |v|.
    bound = step * (0.5 + 4 * 2.0**-24 * np.abs(v[finite]))
    assert (np.abs(wide - step * v[finite]) <= bound).all(), "a number is further from its integer than half a step"
    _check_carries(found, columns)


def _check_carries(found: dict, columns: int) -> None:
    for low, high, row in zip(found["low"], found["high"], found["carries"]):
        groups = np.unique(np.flatnonzero(high) // 4)
        assert row[0] == groups.size and (row[4 : 4 + groups.size] == groups).all()
        assert (row[1], row[2], row[3]) == (low.sum(dtype=int), high.sum(dtype=int), np.count_nonzero(high))
        assert not low[columns:].any() and not high[columns:].any()


@pytest.mark.parametrize("decompose", _DECOMPOSE)
@pytest.mark.parametrize("columns", [1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 2048])
def test_integers_stand_for_their_numbers(decompose: str, columns: int):
    rng = np.random.default_rng(columns)
    _check_promises(ordinary(rng, 20, columns), decompose)
    _check_promises(edges(rng, columns), decompose)


@settings(max_examples=150, deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 70)), elements=st.floats(width=32)),
    st.sampled_from(_DECOMPOSE),
)
def test_integers_stand_for_their_numbers_whatever_the_row(x: np.ndarray, decompose: str):
    with np.errstate(all="ignore"):
        _check_promises(x, decompose)


def test_a_number_exactly_at_the_threshold_is_an_outlier():
    x = np.full((2, 8), 0.5, np.float32)
    x[0, 3], x[1, 3] = 6.0, np.nextafter(np.float32(6), np.float32(0))
    found = _quantize(x, "threshold")
    assert found["step"][0] == np.float32(0.5) / np.float32(127), "it must not stretch the step of the inliers"
    assert found["step"][1] == x[1, 3] / np.float32(127)
    assert found["carries"][:, 3].tolist() == [1, 0]


def test_inliers_have_no_carry_unless_the_row_is_bound_otherwise():
    x = ordinary(np.random.default_rng(1), 30, 576)
    for decompose in ("off", "threshold"):
        found = _quantize(x, decompose)
        bound_by_inliers = found["step"] == np.where(np.abs(x) < 6, np.abs(x), 0).max(1) / np.float32(127)
        inlier = (np.abs(x) < 6) & bound_by_inliers[:, None]
        assert not (found["high"][:, :576][inlier]).any()
    assert not _quantize(x, "off")["high"].any()


def test_one_huge_number_leaves_the_precision_of_the_others():
    """The point of LLM.int8(): without decomposition every other number of this row would be rounded to zero."""
    x = np.random.default_rng(2).standard_normal((1, 512)).astype(np.float32)
    x[0, 100] = 500.0
    kept, lost = _quantize(x, "adaptive"), _quantize(x, "off")
    assert kept["step"][0] < 0.05 < 3 < lost["step"][0]


def test_rows_of_zeros_give_zero_and_rows_with_nan_or_inf_give_nan():
    names = list(EDGES)
    found = _quantize(edges(np.random.default_rng(3), 70))
    for name in ("zeros", "negative zeros"):
        assert found["step"][names.index(name)] == 0
    bad = ["NaN first", "Inf last", "minus Inf", "minus Inf everywhere", "sum overflows"]
    assert {names[i] for i in np.flatnonzero(np.isnan(found["step"]))} == set(bad)


def test_the_adaptive_threshold_follows_the_scale_of_the_row():
    x = np.random.default_rng(4).standard_normal((1, 256)).astype(np.float32)
    x[0, 7] = 9.0
    small = x * np.float32(2.0**-10)
    assert _quantize(x)["carries"][0, 3] == _quantize(small)["carries"][0, 3] == 1
    assert (_integers(_quantize(x), 256) == _integers(_quantize(small), 256)).all()
    assert _quantize(small, "threshold")["carries"][0, 3] == 0


def test_a_row_does_not_depend_on_its_neighbours():
    x = edges(np.random.default_rng(5), 333)
    together = _quantize(x)
    for t in range(x.shape[0]):
        alone = _quantize(x[t : t + 1])
        listed = 4 + alone["carries"][0, 0]
        assert (alone["low"][0] == together["low"][t]).all() and (alone["high"][0] == together["high"][t]).all()
        assert (alone["carries"][0, :listed] == together["carries"][t, :listed]).all()
        assert np.array_equal(alone["step"][0], together["step"][t], equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_within_half_a_code(dtype: torch.dtype):
    w = torch.from_numpy(np.random.default_rng(6).standard_normal((20, 100)).astype(np.float32)).to(dtype)
    w[3] = 0
    found = quantize_weight(weight=w)
    codes, scale = found["codes"].double(), found["scale"].double()
    assert torch.equal(found["scale"], w.float().abs().amax(1)) and codes.abs().max() == 127
    step = scale[:, None] / 127
    # half a code, and the factor 127 / scale and its product are rounded by 2^-24 of at most 127
    assert ((w.double() - codes * step).abs() <= step * (0.5 + 127 * 2 * 2.0**-24)).all()


def test_weights_of_subnormals_stay_in_range():
    w = torch.full((1, 5), 2.0**-140)
    assert quantize_weight(weight=w)["codes"].abs().max() <= 127


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_row_that_is_no_number_says_so_and_spoils_no_other(bad: float):
    """Only a weight that the step itself makes comes here: others are refused before (test_checks, test_load)."""
    w = torch.ones(3, 4)
    w[1, 2] = bad
    found = quantize_weight(weight=w)
    assert found["scale"].isnan().tolist() == [False, True, False]
    assert found["codes"].tolist() == [[127] * 4, [0] * 4, [127] * 4]


@pytest.mark.parametrize("decompose", ["off", "threshold", "adaptive", "all"])
def test_ranks_that_share_rows_make_the_digits_and_sums_of_whole_rows(decompose: str):
    """Each has some columns; statistics are gathered in their order, inliers are the largest of all, sums are added."""
    x = torch.from_numpy(edges(np.random.default_rng(3), 330))
    weight = torch.from_numpy(np.random.default_rng(4).integers(-127, 128, (5, 330), dtype=np.int8))
    rule: dict[str, Any] = {"decompose": decompose, "absolute": 6.0, "relative": 6.0}
    whole = quantize(x=x, **rule)
    columns = [slice(0, 64), slice(64, 256), slice(256, 330)]
    statistics = torch.cat([row_statistics(x=x[:, part])["statistics"] for part in columns], 1)
    assert torch.equal(statistics.nan_to_num(), row_statistics(x=x)["statistics"].nan_to_num())
    inliers = [row_inliers(x=x[:, part], statistics=statistics, columns=330, **rule)["inliers"] for part in columns]
    sums = torch.zeros(x.shape[0], 5, dtype=torch.int32)
    for part in columns:
        most = torch.stack(inliers).amax(0)
        digits = quantize_digits(x=x[:, part], statistics=statistics, inliers=most)
        step = digits.pop("step")
        assert torch.equal(step.nan_to_num(-1), whole["step"].nan_to_num(-1))
        for name in ("low", "high"):
            assert torch.equal(digits[name][:, : x[:, part].shape[1]], whole[name][:, part]), name
        sums += multiply_int8(**digits, weight=weight[:, part])["sums"]
    del whole["step"]
    assert torch.equal(sums, multiply_int8(**whole, weight=weight)["sums"])


def test_statistics_that_cannot_be_of_a_row_give_no_digits():
    x = torch.tensor([[1.0, -3.0]])
    right = torch.tensor([[[3.0, 4.0, 10.0]]])
    for largest, total, inlier in (
        (2.0, 4.0, 1.0),
        (3.0, 2.0, 1.0),
        (3.0, 4.0, -1.0),
        (3.0, 4.0, 3.5),
        (3.0, -4.0, 1.0),
    ):
        wrong = right.clone()
        wrong[0, 0, :2] = torch.tensor([largest, total])
        assert quantize_digits(x=x, statistics=wrong, inliers=torch.tensor([float(inlier)]))["step"].isnan()
    assert quantize_digits(x=x, statistics=right, inliers=torch.tensor([1.0]))["step"] == 1 / torch.tensor(127.0)
