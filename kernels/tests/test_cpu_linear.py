"""Linears at sizes that cross tiles: a layer's output must not depend on how many rows share its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from octavo_kernels.reference.quantize import quantize

from .one_op import bfloat16, every_cpu, reference, run, same_bits

# Rows around the tiles of 4, 6, 8, 16 and 32, and the 256 of a work item; columns around panels of 16 and strips of 2
# and 3 panels; K around groups of 4 and 64.
SHAPES = [
    (1, 16, 64),
    (2, 100, 65),
    (5, 33, 577),
    (8, 176, 192),
    (9, 49, 31),
    (33, 130, 129),
    (70, 64, 96),
    (101, 16, 8),
    (16, 32, 64),
    (17, 48, 128),
    (32, 31, 200),
    (48, 65, 320),
    (290, 40, 70),
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


# Rows, columns, outlier columns: tiles gather the groups that 32 rows have carries in, at most 1024 of them and at most
# half, the weights of 256 at once, and 256 KiB of digits for 256 rows.
GATHERED = [
    (40, 576, 3),
    (33, 576, 40),
    (64, 576, 120),
    (32, 2304, 300),
    (34, 1600, 270),
    (33, 4800, 400),
    (256, 4800, 400),
    (20, 8320, 1040),
    (12, 64, 2),
]


@pytest.mark.parametrize("rows, columns, outliers", GATHERED)
@pytest.mark.parametrize("op", ["linear_int8", "multiply_int8"])
def test_carries_in_few_or_many_columns_are_in_the_same_sum(rows: int, columns: int, outliers: int, op: str):
    rng = np.random.default_rng(columns + outliers)
    x = rng.standard_normal((rows, columns)).astype(np.float32)
    carried = rng.choice(columns // 4, outliers, replace=False) * 4 if outliers <= columns // 4 else np.arange(columns)
    x[:, carried] *= np.where(rng.random((rows, len(carried))) < 0.5, 50, 1)
    found = quantize(x=torch.from_numpy(x), decompose="threshold", absolute=8.0, relative=6.0)
    inputs = {name: tensor.numpy() for name, tensor in found.items()}
    assert len(np.unique(np.nonzero(inputs["high"])[1] // 4)) > outliers // 2
    inputs["weight"] = codes(rng, 50, columns)
    if op == "linear_int8":
        inputs["scale"] = rng.random(50, dtype=np.float32)
    else:
        del inputs["step"]
    result = {"y" if op == "linear_int8" else "sums": (rows, 50)}
    expected = run(reference(), op, inputs, result, packed=("weight",))
    for backend in every_cpu():
        got = run(backend, op, inputs, result, packed=("weight",))
        assert same_bits(got, expected), f"{backend.isa}, {backend.threads} threads"


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
