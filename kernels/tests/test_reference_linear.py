"""Products against brute force: sums of integers to the last unit, the error of carries within its bound."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from octavo_kernels.reference.linear import linear_float, linear_int8, linear_published
from octavo_kernels.reference.quantize import quantize, quantize_weight
from proofs.conformance.rows import edges, ordinary

EPS = 2.0**-24


def _quantized(x: np.ndarray, w: np.ndarray, decompose: str = "adaptive") -> tuple[dict, dict]:
    digits = quantize(x=torch.from_numpy(x), decompose=decompose, absolute=6.0, relative=6.0)
    weight = quantize_weight(weight=torch.from_numpy(w))
    return digits, {"weight": weight["codes"], "scale": weight["scale"]}


def _sums(digits: dict, weight: dict) -> np.ndarray:
    """sum v c in int64."""
    columns = weight["weight"].shape[1]
    v = 255 * digits["high"].numpy()[:, :columns].astype(np.int64) + digits["low"].numpy()[:, :columns]
    return v @ weight["weight"].numpy().astype(np.int64).T


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("columns", [1, 3, 65, 576, 3000])
@pytest.mark.parametrize("decompose", ["off", "threshold", "adaptive", "all"])
def test_the_product_is_one_exact_integer_sum(columns: int, decompose: str):
    digits, weight = _quantized(
        ordinary(np.random.default_rng(columns), 6, columns), _normal(1, 19, columns), decompose
    )
    sums = _sums(digits, weight)
    assert (np.abs(sums) < 2**31).all()
    expected = (sums.astype(np.float32) * digits["step"].numpy()[:, None]) * (weight["scale"].numpy() / np.float32(127))
    assert (linear_int8(**digits, **weight)["y"].numpy() == expected).all()


def test_the_sum_survives_the_largest_digits():
    """All outliers in a long row against the largest codes: the step alone keeps the int32 from overflowing."""
    x = np.full((2, 8192), 100.0, np.float32)
    x[1, ::2] *= -1
    w = np.where(np.arange(8192) % 2 == 0, -1.0, 1.0).astype(np.float32)[None]
    digits, weight = _quantized(x, np.concatenate([w, np.ones_like(w)]), "all")
    sums = _sums(digits, weight)
    assert 2**29 < np.abs(sums).max() < 2**31
    y = linear_int8(**digits, **weight)["y"].double().numpy()
    exact = x.astype(np.float64) @ np.concatenate([w, np.ones_like(w)]).T.astype(np.float64)
    # A row here leaves 8e6 / 8192 = 976 levels; all numbers are alike, so each is off by at most half of one.
    assert (np.abs(y - exact) <= 8192 * 100 / 976 / 2 + 1e-6).all()


def test_a_bias_is_added_with_one_rounding():
    digits, weight = _quantized(_normal(2, 3, 40), _normal(3, 5, 40))
    bias = _normal(4, 5)
    y = linear_int8(**digits, **weight, bias=torch.from_numpy(bias))["y"].numpy()
    scaled = _sums(digits, weight).astype(np.float32) * digits["step"].numpy()[:, None]
    column = weight["scale"].numpy() / np.float32(127)
    for t, n in np.ndindex(y.shape):
        exact = Fraction(float(scaled[t, n])) * Fraction(float(column[n])) + Fraction(float(bias[n]))
        assert y[t, n] == np.float32(float(exact)), "float64 holds these products and sums well enough to round once"


@pytest.mark.parametrize("decompose", ["off", "threshold", "adaptive", "all"])
def test_the_error_is_what_half_a_step_and_half_a_code_allow(decompose: str):
    """|y - x w| <= sum |x - step v| |w| + |step v| |w - c scale / 127|, and a few roundings of the result."""
    x, w = ordinary(np.random.default_rng(5), 8, 576), _normal(6, 24, 576)
    digits, weight = _quantized(x, w, decompose)
    y = linear_int8(**digits, **weight)["y"].double().numpy()
    step = digits["step"].double().numpy()[:, None]
    wide_x, wide_w = x.astype(np.float64), w.astype(np.float64)
    half_codes = weight["scale"].double().numpy()[:, None] / 254
    bound = (
        step / 2 * np.abs(wide_w).sum(1)[None] + (np.abs(wide_x) + step / 2) @ np.broadcast_to(half_codes, w.shape).T
    )
    assert (np.abs(y - wide_x @ wide_w.T) <= bound * (1 + 1e-4) + 8 * EPS * np.abs(y)).all()


def test_carries_bring_the_product_near_that_of_exact_activations():
    """What the threshold buys: the error left is the weights'."""
    x, w = ordinary(np.random.default_rng(7), 16, 576), _normal(8, 64, 576)
    errors = {}
    for decompose in ("off", "adaptive", "all"):
        digits, weight = _quantized(x, w, decompose)
        exact_weights = (
            x.astype(np.float64) @ (weight["weight"].double() * weight["scale"].double()[:, None] / 127).numpy().T
        )
        errors[decompose] = np.sqrt(np.mean((linear_int8(**digits, **weight)["y"].numpy() - exact_weights) ** 2))
    assert errors["all"] < errors["adaptive"] / 10 and errors["adaptive"] < errors["off"] / 2


def test_rows_that_are_no_numbers_spoil_only_themselves():
    x = edges(np.random.default_rng(9), 70)
    digits, weight = _quantized(x, _normal(10, 9, 70))
    y = linear_int8(**digits, **weight)["y"].numpy()
    spoilt = np.isnan(digits["step"].numpy())
    assert 0 < spoilt.sum() < spoilt.size
    assert np.isnan(y[spoilt]).all() and not np.isnan(y[~spoilt]).any()


def _published(x: np.ndarray, codes: np.ndarray, scale: np.ndarray, threshold: float) -> np.ndarray:
    """bitsandbytes' int8_mixed_scaled_mm (section 3.2 of the paper) in float64, with the roundings that it makes."""
    large = np.abs(x) >= (threshold if threshold > 0 else np.inf)
    outlier = large.any(0)
    inliers = np.where(outlier, 0, x)
    s = np.where(large, 0, np.abs(x)).max(1, keepdims=True)
    q = np.rint(inliers * np.divide(np.float32(127), s, where=s > 0, out=np.zeros_like(s)))
    dense = (q.astype(np.int64) @ codes.T.astype(np.int64)) * s.astype(np.float64) * scale / (127 * 127)
    w = (codes[:, outlier].astype(np.float32) * (scale / np.float32(127))[:, None]).astype(np.float16)
    return dense + x[:, outlier].astype(np.float16).astype(np.float64) @ w.T.astype(np.float64)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 6.0])
def test_published_is_the_algorithm_of_the_paper(threshold: float):
    x, w = ordinary(np.random.default_rng(11), 9, 300), _normal(12, 33, 300)
    weight = quantize_weight(weight=torch.from_numpy(w))
    codes, scale = weight["codes"].numpy(), weight["scale"].numpy()
    expected = _published(x, codes, scale, threshold)
    got = (
        linear_published(x=torch.from_numpy(x), weight=weight["codes"], scale=weight["scale"], threshold=threshold)["y"]
        .double()
        .numpy()
    )
    # Dense part: three roundings; outliers: a chain of as many as there are columns at most.
    magnitude = np.abs(x).astype(np.float64) @ np.abs(w).T
    assert (np.abs(got - expected) <= (300 + 8) * EPS * magnitude).all()


def test_published_depends_on_the_batch_and_exact_does_not():
    """Why `exact` is the default: a neighbour's outlier changes which columns of a row are in 16 bits."""
    x = _normal(13, 2, 128)
    x[1, ::2] *= 50
    digits, weight = _quantized(x, _normal(14, 8, 128))
    arguments = {"weight": weight["weight"], "scale": weight["scale"], "threshold": 6.0}
    both = linear_published(x=torch.from_numpy(x), **arguments)["y"]
    alone = linear_published(x=torch.from_numpy(x[:1]), **arguments)["y"]
    assert not torch.equal(both[:1], alone)
    first = {name: value[:1] for name, value in digits.items()}
    assert torch.equal(linear_int8(**digits, **weight)["y"][:1], linear_int8(**first, **weight)["y"])


def test_float_products_are_one_chain_in_ascending_order():
    x, w, bias = _normal(15, 2, 30), _normal(16, 3, 30), _normal(17, 3)
    y = linear_float(x=torch.from_numpy(x), weight=torch.from_numpy(w), bias=torch.from_numpy(bias))["y"].numpy()
    for t, n in np.ndindex(y.shape):
        accumulator = bias[n]
        for k in range(30):
            # A product of float32 is exact in float64; longdouble holds the sum to 64 bits: one rounding.
            exact = np.longdouble(x[t, k]) * np.longdouble(w[n, k]) + np.longdouble(accumulator)
            accumulator = np.float32(exact)
        assert y[t, n] == accumulator


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_float_products_are_near_the_exact_ones(dtype: torch.dtype):
    x, w = torch.from_numpy(_normal(18, 7, 500)), torch.from_numpy(_normal(19, 50, 500)).to(dtype)
    got = linear_float(x=x, weight=w)["y"].double()
    exact = x.double() @ w.double().T
    assert ((got - exact).abs() <= 500 * EPS * (x.double().abs() @ w.double().abs().T)).all()
