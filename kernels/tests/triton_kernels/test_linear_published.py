"""linear_published equals its definition: it is what users compare with bitsandbytes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from octavo_kernels.reference.linear import linear_published as definition

from triton_kernels.linears import Context, answer, linear_published, operands, packed, run, same


def problem(rows: int, outputs: int = 70, columns: int = 300, spread: float = 1.0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(rows + columns)
    x = spread * torch.randn(rows, columns, generator=generator)
    x[:, ::97] *= 20
    codes = torch.randint(-127, 128, (outputs, columns), generator=generator).to(torch.int8)
    scale, bias = torch.rand(outputs, generator=generator), torch.randn(outputs, generator=generator)
    return {"x": x, "weight": packed(codes), "scale": scale, "bias": bias}


def right(given: dict[str, Any], threshold: float = 6.0) -> bool:
    attributes = {"threshold": threshold}
    y = answer(linear_published, Context(90), given["weight"].shape[0], attributes=attributes, **given)
    return same(y, definition(**given, threshold=threshold)["y"])


@pytest.mark.parametrize("rows", [0, 1, 8, 9, 16, 17, 33])
def test_every_number_of_rows_gives_the_definition(rows: int):
    assert right(problem(rows))


@pytest.mark.parametrize("threshold", [0.0, 1e-9, 1e9])
def test_no_outlier_column_and_nothing_but_outlier_columns(threshold: float):
    assert right(problem(5), threshold)


def test_columns_over_several_chunks_are_listed_in_ascending_order():
    """The outlier part is a chain in ascending k: another order has other bits."""
    assert right(problem(3, 20, 600, spread=3.0))


def test_rows_of_nan_infinity_zeros_and_values_beyond_16_bits():
    given = problem(6, 20, 128)
    given["x"][0, 5], given["x"][1, 6], given["x"][2], given["x"][3, 7] = float("nan"), float("inf"), 0.0, 1e9
    assert right(given)
    assert right(given, 0.0)


def test_rows_beyond_the_real_ones_decide_nothing():
    """In a captured graph they hold anything; an outlier there would take a column out for all."""
    given = problem(8, 20, 128)
    given["x"][5:] = 1e6
    y = torch.full((8, 20), float("nan"))
    run(linear_published(Context(90), **operands(5, {**given, "y": y}), threshold=6.0))
    few = {**given, "x": given["x"][:5]}
    assert bool(y[5:].isnan().all()) and same(y[:5], definition(**few, threshold=6.0)["y"])
