"""linear_float is one fma chain per output whatever the tile: logits may not depend on the batch."""

from __future__ import annotations

import pytest
import torch
from octavo_kernels.reference.linear import linear_float as definition

from triton_kernels.linears import Context, answer, linear_float, same


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 8, 9, 16, 17, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_number_of_rows_gives_the_definition(rows: int, dtype: torch.dtype):
    generator = torch.Generator().manual_seed(rows)
    x, weight = torch.randn(rows, 70, generator=generator), torch.randn(130, 70, generator=generator).to(dtype)
    for bias in (None, torch.randn(130, generator=generator)):
        given = {"x": x, "weight": weight, "bias": bias}
        assert same(answer(linear_float, Context(90), 130, **given), definition(**given)["y"])


def test_a_row_alone_and_among_others_has_the_same_bits():
    x, weight = torch.randn(33, 64), torch.randn(20, 64).half()
    whole = answer(linear_float, Context(90), 20, x=x, weight=weight)
    assert torch.equal(whole[7:8], answer(linear_float, Context(90), 20, x=x[7:8], weight=weight))


def test_rows_beyond_the_real_ones_are_left_alone():
    x, weight = torch.randn(8, 64), torch.randn(20, 64).half()
    y = answer(linear_float, Context(90), 20, rows=3, x=x, weight=weight)
    assert bool(y[3:].isnan().all()) and same(y[:3], definition(x=x, weight=weight)["y"][:3])


def test_nan_and_infinity_stay_in_their_row():
    x, weight = torch.randn(5, 64), torch.randn(20, 64).half()
    x[1, 3], x[2, 5] = float("nan"), float("inf")
    assert same(answer(linear_float, Context(90), 20, x=x, weight=weight), definition(x=x, weight=weight)["y"])
