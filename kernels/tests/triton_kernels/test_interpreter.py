"""The interpreter rounds as a GPU does; otherwise every proof of values in this folder is about other numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from octavo_kernels.reference.numbers import fma as defined
from octavo_kernels.triton.interpreter import fma, fma_chain


def _hard(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers whose sums of products often lie close to the middle of two float32: few bits, many exponents."""
    numbers = rng.integers(-(1 << 12), 1 << 12, shape) * 2.0 ** rng.integers(-20, 20, shape)
    return numbers.astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e18], ids=["ordinary", "subnormal results", "overflow"])
def test_fma_rounds_once(scale: float):
    rng = np.random.default_rng(1)
    a, b, c = (_hard(rng, 20_000) * np.float32(scale) for _ in range(3))
    c = (a.astype(np.float64) * b * -(1 + rng.integers(-3, 4, a.shape) * 2.0**-24)).astype(np.float32)
    c[::5] = 0
    expected = defined(*map(torch.from_numpy, (a, b, c))).numpy()
    np.testing.assert_array_equal(fma(a, b, c), expected)


def test_a_float32_dot_is_a_chain_of_fmas_in_ascending_order():
    rng = np.random.default_rng(2)
    a, b, c = _hard(rng, 2, 5, 33), _hard(rng, 2, 33, 7), _hard(rng, 2, 5, 7)
    expected = c
    for k in range(33):
        expected = fma(a[..., :, k, None], b[..., None, k, :], expected)
    np.testing.assert_array_equal(fma_chain(a, b, c), expected)
    plain = [rng.standard_normal(shape).astype(np.float32) for shape in ((16, 64), (64, 32), (16, 32))]
    assert (fma_chain(*plain) != plain[2] + plain[0] @ plain[1]).any()


def test_nan_and_infinity_pass_through_a_chain():
    a = np.array([[1, np.inf, 2]], np.float32)
    b = np.array([[1, np.nan], [-1, 0], [3, 4]], np.float32)
    chain = fma_chain(a, b, np.zeros((1, 2), np.float32))
    assert chain[0, 0] == -np.inf
    assert np.isnan(chain[0, 1])
