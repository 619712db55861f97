"""The paper's int8 schemes against brute force, and against the ops that are one of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from octavo_kernels.reference.linear import linear_published
from octavo_kernels.reference.quantize import quantize_weight
from octavo_kernels.reference.scheme import linear_scheme
from proofs.conformance.rows import ordinary

EPS = 2.0**-24
ALL = list(itertools.product(("absmax", "zeropoint"), ("tensor", "row", "vector"), (0.0, 6.0)))


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _run(x: np.ndarray, w: np.ndarray, codes: str, scope: str, threshold: float) -> np.ndarray:
    given = {"x": torch.from_numpy(x), "weight": torch.from_numpy(w)}
    return linear_scheme(**given, codes=codes, scope=scope, threshold=threshold)["y"].double().numpy()


def _rounded(numbers: np.ndarray, kind: str, axis: int | None, ranged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as their codes stand for them (the paper's section 2.1, in float64), and the distance of codes."""
    low, high = np.minimum(ranged.min(axis, keepdims=True), 0), np.maximum(ranged.max(axis, keepdims=True), 0)
    step = np.maximum(-low, high) / 127 if kind == "absmax" else (high - low) / 254
    return np.rint(numbers / step) * step, step


@pytest.mark.parametrize("codes, scope, threshold", ALL)
def test_a_scheme_is_what_the_paper_says_it_is(codes: str, scope: str, threshold: float):
    """Otherwise the table of perplexities compares something else with the paper's."""
    x, w = ordinary(np.random.default_rng(1), 9, 300).astype(np.float64), _normal(2, 33, 300).astype(np.float64)
    large = np.abs(x) >= threshold if threshold > 0 else np.zeros(x.shape, bool)
    outlier = large.any(0)
    rounded_w, w_step = _rounded(w, codes, 1 if scope == "vector" else None, w)
    inliers, x_step = _rounded(np.where(outlier, 0, x), codes, None if scope == "tensor" else 1, np.where(large, 0, x))
    expected = inliers @ rounded_w.T + np.where(outlier, x, 0) @ rounded_w.T
    # Codes at the middle between two may go either way; 16-bit outliers and weights are 2^-11 off each.
    ties = 0.02 * np.sqrt(300) * (x_step * np.abs(w).max() + w_step.T * np.abs(x).max())
    halves = 2.0**-10 * np.abs(np.where(outlier, x, 0)) @ np.abs(rounded_w).T
    got = _run(x.astype(np.float32), w.astype(np.float32), codes, scope, threshold)
    assert (np.abs(got - expected) <= ties + halves + 400 * EPS * (np.abs(x) @ np.abs(w).T)).all()


@pytest.mark.parametrize("threshold", [0.0, 0.5, 6.0])
def test_absmax_by_vectors_is_llm_int8_as_published(threshold: float):
    """To the bit: one row of the paper's table is another op of ours."""
    x, w = torch.from_numpy(ordinary(np.random.default_rng(3), 17, 200)), torch.from_numpy(_normal(4, 40, 200))
    bias = torch.from_numpy(_normal(5, 40))
    weight = quantize_weight(weight=w)
    expected = linear_published(x=x, weight=weight["codes"], scale=weight["scale"], bias=bias, threshold=threshold)["y"]
    got = linear_scheme(x=x, weight=w, bias=bias, codes="absmax", scope="vector", threshold=threshold)["y"]
    assert torch.equal(got, expected)


def test_finer_scopes_and_zeropoint_are_nearer():
    """Rows of different sizes; numbers of one sign, which zeropoint gives all codes. The order of the paper's table."""
    scales = np.geomspace(0.1, 3, 64).astype(np.float32)
    x, w = np.abs(_normal(6, 64, 256)) * scales[:, None], _normal(7, 64, 256) * scales[::-1, None]
    exact = x.astype(np.float64) @ w.T.astype(np.float64)
    error = {
        (codes, scope): np.sqrt(np.mean(((_run(x, w, codes, scope, 0) - exact) / scales[:, None] / scales[::-1]) ** 2))
        for codes, scope, threshold in ALL
        if threshold == 0
    }
    for codes in ("absmax", "zeropoint"):
        assert error[codes, "vector"] < error[codes, "row"] < error[codes, "tensor"]
    for scope in ("tensor", "row", "vector"):
        assert error["zeropoint", scope] < error["absmax", scope]


@pytest.mark.parametrize("codes, scope, threshold", ALL)
def test_zeros_stay_zeros_and_what_is_no_number_shows(codes: str, scope: str, threshold: float):
    x = ordinary(np.random.default_rng(8), 4, 64)
    x[1] = 0
    assert (_run(x, _normal(9, 5, 64), codes, scope, threshold)[1] == 0).all()
    x[2, 3] = np.nan
    bad = np.isnan(_run(x, _normal(9, 5, 64), codes, scope, threshold)).all(1)
    assert bad.tolist() == ([True] * 4 if scope == "tensor" else [False, False, True, False])
