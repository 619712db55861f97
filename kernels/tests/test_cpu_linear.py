"""Linears at sizes that cross tiles: a layer's output must not depend on how many rows share its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from octavo_kernels.reference.quantize import quantize

from .one_op import bfloat16, every_cpu, reference, run, same_bits

# Rows around the tiles of 4, 6 and 8; columns around panels of 16 and strips of 3 panels; K around groups of 4 and 64.
SHAPES = [
    (1, 16, 64),
    (2, 100, 65),
    (5, 33, 577),
    (8, 176, 192),
    (9, 49, 31),
    (33, 130, 129),
    (70, 64, 96),
    (101, 16, 8),
]


def digits(rows: int, columns: int, decompose: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Digits of rows with outliers, a row of zeros and a row with NaN."""
    x = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    x[0, ::5] *= 40
    if rows > 2:
        x[1], x[2, 0] = 0, np.nan
    found = quantize(x=torch.from_numpy(x), decompose=decompose, absolute=6.0, relative=6.0)
    return {name: tensor.numpy() for name, tensor in found.items()}


def codes(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Any codes; each row's largest is 127, as quantisation makes them."""
    found = rng.integers(-127, 128, (rows, columns)).astype(np.int8)
    found[:, 0] = 127
    return found


@pytest.mark.parametrize("rows, outputs, columns", SHAPES)
@pytest.mark.parametrize("decompose", ["off", "adaptive", "all"])
@pytest.mark.parametrize("packed", [("weight",), ()])
def test_linear_int8_is_one_exact_sum_in_every_tile(rows: int, outputs: int, columns: int, decompose: str, packed):
    rng = np.random.default_rng(outputs)
    inputs = {
        **digits(rows, columns, decompose),
        "weight": codes(rng, outputs, columns),
        "scale": rng.random(outputs, dtype=np.float32),
        "bias": rng.standard_normal(outputs).astype(np.float32) if rows % 2 else None,
    }
    expected = run(reference(), "linear_int8", inputs, {"y": (rows, outputs)}, packed=packed)["y"]
    for backend in every_cpu():
        got = run(backend, "linear_int8", inputs, {"y": (rows, outputs)}, packed=packed)["y"]
        assert np.array_equal(got, expected, equal_nan=True), f"{backend.isa}, {backend.threads} threads"


@pytest.mark.parametrize("rows, outputs, columns", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("packed", [("weight",), ()])
def test_linear_float_is_one_chain_in_every_tile(rows: int, outputs: int, columns: int, dtype: str, packed):
    rng = np.random.default_rng(outputs)
    weight = rng.standard_normal((outputs, columns)).astype(np.float32)
    inputs = {
        "x": rng.standard_normal((rows, columns)).astype(np.float32),
        "weight": bfloat16(weight) if dtype == "bfloat16" else weight.astype(dtype),
        "bias": rng.standard_normal(outputs).astype(np.float32) if rows % 2 else None,
    }
    expected = run(reference(), "linear_float", inputs, {"y": (rows, outputs)}, packed=packed)
    for backend in every_cpu():
        got = run(backend, "linear_float", inputs, {"y": (rows, outputs)}, packed=packed)
        assert same_bits(got, expected), f"{backend.isa}, {backend.threads} threads"


def test_the_largest_sum_of_a_row_fits_32_bits():
    """n = sum |x| bounds the step, so that 254 * sum |v| < 2^31 however wide a row of equal numbers is."""
    columns = 40_000
    row = torch.full((1, columns), 3.0)
    inputs = {
        **{k: v.numpy() for k, v in quantize(x=row, decompose="all", absolute=6.0, relative=6.0).items()},
        "weight": np.full((16, columns), 127, np.int8),
        "scale": np.full(16, 127, np.float32),
    }
    expected = run(reference(), "linear_int8", inputs, {"y": (1, 16)})
    assert np.allclose(expected["y"], 127 * 3.0 * columns, rtol=1e-2)  # steps are coarse in such a row; no wrap-around
    for backend in every_cpu():
        assert same_bits(run(backend, "linear_int8", inputs, {"y": (1, 16)}), expected), backend.isa
