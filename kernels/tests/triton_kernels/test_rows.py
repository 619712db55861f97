"""Row kernels where the generated cases do not look. A user would lose: the same answer at the sizes of real models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from proofs.conformance.rows import edges

from .row_ops import differing, expected, like, ordinary, run

ADAPTIVE: dict[str, Any] = {"decompose": "adaptive", "absolute": 6.0, "relative": 6.0}
RMS: dict[str, Any] = {"kind": "rms", "eps": 1e-5, "unitOffset": False}
# What fits into registers ends at 16,384 columns; 14,336, 28,672 and 57,344 are widths of Llama and BLOOM.
HELD, STREAMED = 14336, 16448
LONG = [4096, HELD, STREAMED, 57344]


def long_rows(columns: int, seed: int = 0) -> torch.Tensor:
    """Rows of a hidden state with outliers, of values at the threshold, and with an Inf in the last column."""
    rng = np.random.default_rng(columns + seed)
    x = rng.standard_normal((3, columns)).astype(np.float32)
    x[0, rng.choice(columns, columns // 200)] *= 40
    x[1, ::7] = 6.0
    x[1, 3::7] = np.nextafter(np.float32(6), np.float32(0))
    x[2, -1] = np.inf
    return torch.from_numpy(x)


def check(op: str, inputs: dict[str, torch.Tensor], attributes: dict[str, Any], processors: int = 132) -> None:
    definition = expected(op, inputs, attributes)
    outputs = like(definition)
    carries, nonfinite = run(op, inputs, outputs, attributes, processors=processors)
    assert not differing(outputs, definition)
    if "carries" in definition:
        assert carries == int(definition["carries"][:, 3].sum())
        assert nonfinite == int(definition["step"].isnan().sum())


@pytest.mark.parametrize("columns", [1, 63, 65])
def test_rows_that_do_not_fill_a_block_are_quantised_as_defined(columns: int):
    """Zeros, NaN, Inf, subnormals, values exactly at the threshold, every element a carry."""
    x = torch.from_numpy(edges(np.random.default_rng(columns), columns))
    check("quantize", {"x": x}, ADAPTIVE)


@pytest.mark.parametrize("columns", LONG)
@pytest.mark.parametrize("decompose", ["threshold", "adaptive"])
def test_long_rows_are_quantised_as_defined(columns: int, decompose: str):
    check("quantize", {"x": long_rows(columns)}, {**ADAPTIVE, "decompose": decompose})


@pytest.mark.parametrize("columns", [HELD, STREAMED])
def test_long_rows_are_quantised_in_parts_as_defined(columns: int):
    x = long_rows(columns)
    check("row_statistics", {"x": x}, {})
    statistics = expected("row_statistics", {"x": x}, {})
    check("row_inliers", {"x": x, **statistics}, {**ADAPTIVE, "columns": columns})
    inliers = expected("row_inliers", {"x": x, **statistics}, {**ADAPTIVE, "columns": columns})
    check("quantize_digits", {"x": x, **statistics, **inliers}, {})


@pytest.mark.parametrize("drawn", [None, [1, 3, -1, 9]])
def test_an_id_that_is_no_row_of_the_table_is_embedded_as_nan(drawn: list[int] | None):
    """Ids that the step itself draws are seen by no check; -1 is what a row without finite logits draws."""
    tokens = torch.tensor([0, 2, 3, 2**31 - 1, -1, -2, -3, -4, -5, -(2**31)], dtype=torch.int32)
    inputs = {"tokens": tokens, "table": torch.arange(12.0).reshape(3, 4) + 1}
    if drawn is not None:
        inputs["sampled"] = torch.tensor(drawn, dtype=torch.int32)
    check("embed", inputs, {"scale": 2.0})


@pytest.mark.parametrize("columns", [4096, 57344])
def test_every_group_may_have_a_carry(columns: int):
    x = torch.full((1, columns), 3.0) + torch.arange(columns) % 5
    check("quantize", {"x": x}, {**ADAPTIVE, "decompose": "all"})


@pytest.mark.parametrize("columns", [HELD, STREAMED])
@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_norm_and_quantize_in_one_launch_are_the_two_ops(columns: int, kind: str):
    a, b = long_rows(columns), long_rows(columns, 1)
    parameters = {"weight": 1 + long_rows(columns, 2)[0] / 64, "bias": long_rows(columns, 3)[0]}
    check("add_norm_quantize", {"a": a, "b": b, **parameters}, {**RMS, **ADAPTIVE, "kind": kind})
    check("norm_quantize", {"x": a, **parameters}, {**RMS, **ADAPTIVE, "kind": kind})
    check("norm", {"x": a, **parameters}, {**RMS, "kind": kind})


@pytest.mark.parametrize("columns", [HELD, 28672])
def test_glu_and_quantize_in_one_launch_are_the_two_ops(columns: int):
    both = torch.cat([long_rows(columns), long_rows(columns, 1)], dim=1)
    inputs = {"gate": both[:, :columns], "up": both[:, columns:]}
    check("glu_quantize", inputs, {**ADAPTIVE, "activation": "silu"})


def test_programs_that_take_several_long_rows_mix_none_of_them():
    """A streamed row lies in scratch memory, which each program has once."""
    gate = torch.cat([long_rows(STREAMED), long_rows(STREAMED, 1)])
    check("glu_quantize", {"gate": gate, "up": gate.flip(0)}, {**ADAPTIVE, "activation": "relu"}, processors=2)


def test_an_epsilon_below_the_normal_floats_is_kept():
    x = torch.full((1, 64), 2.0**-70)
    check("norm", {"x": x, "weight": torch.ones(64)}, {**RMS, "eps": 2.0**-140})


ROW_OPS = [
    *("add", "rows", "embed", "cast", "norm", "quantize", "norm_quantize", "add_norm_quantize"),
    *("glu_quantize", "glu", "activate", "rope", "row_statistics", "row_inliers", "quantize_digits", "dequantize"),
]
TABLES = ("weight", "bias", "scale", "table", "sampled", "cos", "sin", "keys", "values", "steps")


@pytest.mark.parametrize("op", ROW_OPS)
def test_a_step_leaves_rows_that_it_has_not_alone(op: str):
    """A captured graph is made for more rows than a step brings; the others are somebody else's results."""
    inputs, attributes = ordinary(op)
    whole = expected(op, inputs, attributes)
    outputs = like(whole)
    kept = (*TABLES, "x") if op == "rows" else TABLES
    of_rows = [name for name in (*inputs, *whole) if name not in kept]
    run(op, inputs, outputs, attributes, dict.fromkeys(of_rows, 1))
    untouched = {name: x[1:] for name, x in like(whole).items()}
    assert not differing({name: x[:1] for name, x in outputs.items()}, {name: x[:1] for name, x in whole.items()})
    assert all(torch.equal(outputs[name][1:].view(torch.uint8), x.view(torch.uint8)) for name, x in untouched.items())


def test_a_step_leaves_pages_of_rows_that_it_has_not_alone():
    inputs, attributes = ordinary("append")
    pages = {name: inputs[name].clone() for name in ("keys", "values", "steps")}
    real = {name: x[:1] for name, x in inputs.items() if name not in pages}
    expected("append", {**real, **pages}, attributes)
    run("append", inputs, {}, attributes, {"k": 1, "v": 1, "slots": 1})
    assert not differing({name: inputs[name] for name in pages}, pages)


def test_ids_out_of_range_read_and_write_nothing_elsewhere():
    """The executor cannot look at what lies on the device."""
    table = torch.arange(12.0).reshape(4, 3)
    sampled = torch.tensor([2, 3], dtype=torch.int32)
    y = torch.empty(5, 3)
    tokens = torch.tensor([4, 1 << 30, -3, -(1 << 31), -2], dtype=torch.int32)
    run("embed", {"tokens": tokens, "table": table, "sampled": sampled}, {"y": y}, {"scale": 1.0})
    assert y[:4].isnan().all() and torch.equal(y[4], table[3])
    run("rows", {"x": table, "index": torch.tensor([-1, 4, 1, 9, 0], dtype=torch.int32)}, {"y": y}, {})
    assert torch.equal(y, table[[0, 3, 1, 3, 0]])

    inputs, attributes = ordinary("append")
    before = {name: inputs[name].clone() for name in ("keys", "values", "steps")}
    slots = inputs["keys"].shape[0] * 16
    inputs["slots"] = torch.tensor([-1, slots, 1 << 30] * len(inputs["k"]), dtype=torch.int32)[: len(inputs["k"])]
    run("append", inputs, {}, attributes)
    assert all(torch.equal(inputs[name], page) for name, page in before.items())
