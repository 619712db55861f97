"""linear_int8 in every regime and form equals its definition: a wrong digit here is a wrong token on every GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from octavo_kernels.program.shapes import carry_words
from octavo_kernels.reference.linear import linear_int8 as definition
from octavo_kernels.reference.quantize import quantize

from triton_kernels.linears import (
    ARCHITECTURES,
    Context,
    Launch,
    answer,
    carry_groups,
    cdiv,
    linear_int8,
    operands,
    packed,
    run,
    same,
    tiles,
)

#: More rows than any table computes as decode.
MANY = 130


def problem(
    rows: int, outputs: int, columns: int, decompose: str = "adaptive", x: torch.Tensor | None = None
) -> dict[str, Any]:
    """Operands of a linear whose rows have outliers in three columns and a few scattered ones."""
    generator = torch.Generator().manual_seed(rows * 7919 + columns)
    if x is None:
        x = torch.randn(rows, columns, generator=generator)
        x[:, : min(3, columns)] *= 40
        x[torch.rand(rows, columns, generator=generator) < 0.003] *= 30
    codes = torch.randint(-127, 128, (outputs, columns), generator=generator).to(torch.int8)
    return {
        **quantize(x=x, decompose=decompose, absolute=6.0, relative=6.0),
        **{"weight": packed(codes), "scale": torch.rand(outputs, generator=generator)},
        "bias": torch.randn(outputs, generator=generator),
    }


def right(given: dict[str, Any], architecture: int, rows: int | None = None) -> bool:
    context = Context(architecture)
    y = answer(linear_int8, context, given["weight"].shape[0], rows, **given)
    count = y.shape[0] if rows is None else rows
    untouched = bool(y[count:].isnan().all())
    zero = all(not bool(tickets.any()) for tickets in context.lent)
    return untouched and zero and same(y[:count], definition(**given)["y"][:count])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("rows", [0, 1, 8, 9, 15, 16, 17, 31, 33, 63, 65, MANY])
def test_every_number_of_rows_gives_the_definition(rows: int, architecture: int):
    assert right(problem(rows, 70, 300), architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("rows", [5, MANY])
@pytest.mark.parametrize("decompose", ["off", "all"])
def test_no_outlier_and_nothing_but_outliers(decompose: str, rows: int, architecture: int):
    assert right(problem(rows, 33, 256, decompose), architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("rows", [5, MANY])
def test_one_huge_value_a_row_of_nan_and_a_row_of_zeros(rows: int, architecture: int):
    """One bad row may not spoil the others of its tile."""
    x = torch.randn(rows, 192)
    x[0, 100], x[1, 7], x[2, 9], x[3] = 3e30, float("nan"), float("-inf"), 0.0
    given = problem(rows, 40, 192, x=x)
    assert right(given, architecture)
    assert bool(definition(**given)["y"][[0, 3]].isfinite().all())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("rows", [3, MANY])
@pytest.mark.parametrize("columns", [1, 63, 65, 100, 320])
def test_columns_that_no_tile_divides_packed_and_plain(columns: int, rows: int, architecture: int):
    """Plain weights have nothing behind their rows: what is read there would be the next row, or no memory."""
    given = problem(rows, 9, columns)
    assert right(given, architecture)
    assert right({**given, "weight": given["weight"].contiguous()}, architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("capacity", "rows"), [(8, 3), (64, 33), (MANY, 5), (MANY, 0)])
def test_rows_beyond_the_real_ones_are_left_alone(capacity: int, rows: int, architecture: int):
    """A captured graph is made for more rows than a step brings."""
    assert right(problem(capacity, 33, 128), architecture, rows)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("rows", [2, MANY])
def test_parts_of_k_are_summed_by_the_last_and_a_second_replay_gives_the_same(rows: int, architecture: int):
    """A ticket left behind would break the second step of a captured graph."""
    given = problem(rows, 9, 3200)
    context, y = Context(architecture), torch.full((rows, 9), float("nan"))
    launches = linear_int8(context, **operands(rows, {**given, "y": y}))
    assert launches[-1].constants["SPLITS"] > 1
    for _ in range(2):
        run(launches)
        assert same(y, definition(**given)["y"]) and not bool(context.lent[0].any())
        y.fill_(float("nan"))


def test_without_bias_nothing_is_added():
    """fma(p, f, 0) would round once where the definition rounds twice."""
    given = {**problem(4, 33, 128), "bias": None}
    assert same(answer(linear_int8, Context(90), 33, **given), definition(**given)["y"])


def planned(
    rows: int, architecture: int, outputs: int = 4096, columns: int = 4096, interpreted: bool = True
) -> list[Launch]:
    meta = torch.device("meta")
    given = {
        **{name: torch.empty(rows, columns, dtype=torch.int8, device=meta) for name in ("low", "high")},
        "carries": torch.empty(rows, carry_words(columns), dtype=torch.int32, device=meta),
        "step": torch.empty(rows, device=meta),
        "weight": torch.empty(outputs, columns, dtype=torch.int8, device=meta),
        **{"scale": torch.empty(outputs, device=meta), "y": torch.empty(rows, outputs, device=meta)},
    }
    context = Context(architecture)
    context.interpreted = interpreted
    return linear_int8(context, **operands(rows, given))


def test_few_rows_read_the_weights_once_in_one_launch():
    """Decode is bound by the weights' bytes: a second pass over them would be a cliff."""
    for architecture in (80, 86, 89, 90, 100):
        for rows in range(1, 65):
            (launch,) = planned(rows, architecture)
            assert launch.grid[2] == 1


def test_prefill_uses_tma_where_it_has_it_and_pointers_where_rows_are_not_aligned():
    assert planned(512, 90)[-1].arguments["low_tiles"] is not None
    assert planned(512, 90, columns=4100)[-1].arguments["low_tiles"] is None
    assert planned(512, 80)[-1].arguments["low_tiles"] is None


def test_prefill_on_an_h100_overlaps_its_products_where_there_are_tiles_enough():
    """The Gluon kernel has no interpreter: the plain kernel, which is tested here, is its oracle."""
    assert planned(2048, 90, interpreted=False)[-1].kernel.__name__ == "prefill_async"
    assert planned(512, 90, interpreted=False)[-1].kernel.__name__ == "prefill"
    assert planned(2048, 90, columns=4100, interpreted=False)[-1].kernel.__name__ == "prefill"
    assert planned(2048, 80, interpreted=False)[-1].kernel.__name__ == "prefill"


@pytest.mark.parametrize("slots", [82, 132, 264])
def test_the_parts_of_k_cover_it_and_none_is_empty(slots: int):
    for programs in (1, 7, 64, 131, 500):
        for steps in (1, 2, 3, 9, 16, 56, 224):
            parts, length = tiles.split(programs, steps, slots, 0.25, 4 * 64 * 64)
            assert parts == cdiv(steps, length)


def test_lists_name_exactly_the_groups_with_a_carry():
    """A group left out would be a wrong sum; each one too many costs time."""
    rows, columns = 140, 512
    given = problem(rows, 1, columns)
    planned_launches = linear_int8(Context(80), **operands(rows, {**given, "y": torch.empty(rows, 1)}))
    lists = planned_launches[0]
    assert lists.kernel is carry_groups
    run([lists])
    for tile in range(2):
        held = given["high"][tile * 128 : tile * 128 + 128].reshape(-1, columns // 32, 32).ne(0).any(2).any(0)
        count = int(lists.arguments["counts"][tile])
        assert lists.arguments["groups"][tile, :count].tolist() == held.nonzero()[:, 0].tolist()
