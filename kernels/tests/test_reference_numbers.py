"""The arithmetic of the definitions against exact arithmetic; were it wrong, every backend would be held to it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from octavo_kernels.reference.numbers import exp, fma, lane_tree, row_sum, row_sum_of_squares, sqrt

_floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def _nearest(exact: Fraction) -> np.float32:
    """The float32 nearest to an exact number, ties to even, by looking at the neighbours of a first guess."""
    with np.errstate(over="ignore"):
        guess = np.float32(float(exact))
    if not np.isfinite(guess):
        guess = np.float32(np.copysign(np.finfo(np.float32).max, float(exact)))
    near = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    near = [x for x in near if np.isfinite(x)]
    return min(near, key=lambda x: (abs(Fraction(float(x)) - exact), x.view(np.uint32) & 1))


def _exact(x: float) -> Fraction:
    return Fraction(float(np.float32(x)))


@settings(max_examples=400, deadline=None)
@given(_floats, _floats, _floats)
def test_fma_rounds_once(a: float, b: float, c: float):
    exact = _exact(a) * _exact(b) + _exact(c)
    if abs(exact) >= 2**128 - 2**103:  # rounds to infinity
        return
    got = fma(*(torch.tensor(x, dtype=torch.float32) for x in (a, b, c))).item()
    assert got == _nearest(exact)


def test_fma_rounds_once_where_float64_would_round_twice():
    # 2^-24 + 2^-60 is above the middle between 1 and its neighbour, but float64 loses the 2^-60.
    a, b, c = torch.tensor(2.0**-24 + 2.0**-40), torch.tensor(1 + 2.0**-20), torch.tensor(1.0)
    exact = _exact(a.item()) * _exact(b.item()) + 1
    assert fma(a, b, c).item() == _nearest(exact)


@settings(max_examples=300, deadline=None)
@given(st.floats(width=32, min_value=0, allow_nan=False, allow_infinity=False))
def test_square_roots_are_correctly_rounded(x: float):
    assert sqrt(torch.tensor([x], dtype=torch.float32)).item() == np.sqrt(np.float32(x))


def test_exponentials_are_within_two_ulp():
    x = np.concatenate([np.linspace(-87.3, 88.7, 200_001), np.linspace(-1, 1, 50_001), [0.0, -0.0]]).astype(np.float32)
    got = exp(torch.from_numpy(x)).double().numpy()
    exact = np.exp(x.astype(np.longdouble))
    ulp = np.spacing(exact.astype(np.float32)).astype(np.longdouble)
    assert np.abs(got - exact).max() < np.inf and (np.abs(got - exact) <= 2 * ulp).all()


@pytest.mark.parametrize(
    ("x", "expected"),
    [(0.0, 1.0), (-0.0, 1.0), (-87.4, 0.0), (-1e30, 0.0), (-np.inf, 0.0), (90.0, np.inf), (np.inf, np.inf)],
)
def test_exponentials_at_the_ends(x: float, expected: float):
    assert exp(torch.tensor([x])).item() == expected


def test_exponential_of_nan_is_nan():
    assert torch.isnan(exp(torch.tensor([float("nan")]))).all()


def _tree(lanes: list[np.float32]) -> np.float32:
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [lanes[i] + lanes[i + half] for i in range(half)]
    return lanes[0]


def _block_sum(x: np.ndarray) -> np.float32:
    """As docs/numerics.md says it ("Block sums"), one number at a time."""
    blocks = []
    for start in range(0, max(1, x.size), 64):
        block = np.zeros(64, np.float32)
        part = x[start : start + 64]
        block[: part.size] = part
        lanes = [np.float32(0)] * 16
        for vector in range(4):
            lanes = [lanes[i] + block[16 * vector + i] for i in range(16)]
        blocks.append(_tree(lanes))
    while len(blocks) & (len(blocks) - 1):
        blocks.append(np.float32(0))
    while len(blocks) > 1:
        blocks = [blocks[2 * i] + blocks[2 * i + 1] for i in range(len(blocks) // 2)]
    return blocks[0]


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 63, 64, 65, 128, 129, 320, 576, 1000])
def test_row_sums_are_those_of_the_definition(columns: int):
    x = np.random.default_rng(columns).standard_normal((3, columns)).astype(np.float32)
    assert (row_sum(torch.from_numpy(x)).numpy() == [_block_sum(row) for row in x]).all()


@pytest.mark.parametrize("columns", [64, 128, 192, 320])
def test_shards_of_whole_blocks_leave_the_block_sums_alone(columns: int):
    """What lets row-parallel shards gather block sums and get the unsharded row's bits."""
    x = torch.from_numpy(np.random.default_rng(columns).standard_normal((4, columns)).astype(np.float32))
    blocks = [row_sum(x[:, start : start + 64]) for start in range(0, columns, 64)]
    blocks += [torch.zeros(4)] * ((1 << (len(blocks) - 1).bit_length()) - len(blocks))
    while len(blocks) > 1:
        blocks = [blocks[2 * i] + blocks[2 * i + 1] for i in range(len(blocks) // 2)]
    assert torch.equal(row_sum(x), blocks[0])


@pytest.mark.parametrize("columns", [1, 17, 64, 200, 1536])
def test_sums_of_squares_are_near_the_exact_ones(columns: int):
    x = np.random.default_rng(columns).standard_normal((8, columns)).astype(np.float32)
    exact = (x.astype(np.float64) ** 2).sum(1)
    # All terms are positive: at most 4 fma, 4 levels of lanes and the levels of blocks round, each by 2^-24.
    roundings = 8 + int(np.ceil(np.log2(max(1, columns / 64))))
    assert (np.abs(row_sum_of_squares(torch.from_numpy(x)).numpy() - exact) <= roundings * 2.0**-24 * exact).all()


def test_the_tree_over_lanes_halves():
    x = np.random.default_rng(0).standard_normal((5, 16)).astype(np.float32)
    assert (lane_tree(torch.from_numpy(x)).numpy() == [_tree(list(row)) for row in x]).all()
