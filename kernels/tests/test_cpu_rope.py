"""A user would lose: words in their places, and keys and values that are written where they are looked for."""

from __future__ import annotations

import numpy as np
import pytest
from one_op import cpu, every_cpu, reference, run, same_bits
from proofs.conformance.paging import quantized

PAGES = 5
PAGE_OPERANDS = ("keys", "values", "steps")


def rope_inputs(rows: int, heads: int, kv_heads: int, head_dim: int, turned: int, pages: str = "int16"):
    """Inputs of rope_append; some ops take a part of them."""
    rng = np.random.default_rng(rows)
    angles = rng.random((64, turned)).astype(np.float32) * 6
    k, v = rng.standard_normal((2, rows, kv_heads * head_dim)).astype(np.float32)
    held = rng.standard_normal((2, PAGES, kv_heads, 16, head_dim)).astype(np.float32)
    return {
        "q": rng.standard_normal((rows, heads * head_dim)).astype(np.float32),
        "k": k,
        # Some beyond what a row may hold.
        "v": v * np.float32(2.0**50),
        "positions": rng.integers(0, 64, rows, dtype=np.int32),
        "cos": np.cos(angles),
        "sin": np.sin(angles),
        "slots": rng.permutation(PAGES * 16)[:rows].astype(np.int32),
        **quantized(held[0], held[1], pages),
    }


def only(inputs, *names: str, **renamed: str):
    return {**{name: inputs[name] for name in names}, **{to: inputs[name] for to, name in renamed.items()}}


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize(("head_dim", "turned"), [(64, 32), (64, 16), (48, 24), (80, 20), (10, 3), (2, 1)])
def test_rope_equals_the_definition(pairing, head_dim, turned):
    inputs = only(rope_inputs(7, 3, 1, head_dim, turned), "positions", "cos", "sin", x="q")
    shape = {"y": inputs["x"].shape}
    expected = run(reference(), "rope", inputs, shape, headDim=head_dim, pairing=pairing)
    for backend in every_cpu():
        for places in ("step", "columns"):
            y = run(backend, "rope", inputs, shape, places, headDim=head_dim, pairing=pairing)
            assert same_bits(y, expected)


@pytest.mark.parametrize("pages", ["int16", "int8"])
@pytest.mark.parametrize("head_dim", [64, 40, 6, 256])
@pytest.mark.parametrize("rows", [1, 20])
def test_append_equals_the_definition(pages, head_dim, rows):
    inputs = only(rope_inputs(rows, 1, 3, head_dim, 1, pages), "k", "v", "slots", *PAGE_OPERANDS)
    expected = run(reference(), "append", inputs, {}, kvHeads=3, headDim=head_dim)
    for backend in every_cpu():
        assert same_bits(run(backend, "append", inputs, {}, kvHeads=3, headDim=head_dim), expected)


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize(("head_dim", "turned"), [(64, 32), (40, 10), (6, 2)])
@pytest.mark.parametrize(("rows", "pages"), [(1, "int16"), (2, "int8"), (33, "int16")])
def test_rope_append_equals_rope_then_append(pairing, head_dim, turned, rows, pages):
    inputs = rope_inputs(rows, 6, 2, head_dim, turned, pages)
    rotation = {"headDim": head_dim, "pairing": pairing}
    tables = ("positions", "cos", "sin")
    for backend in every_cpu():
        q = run(backend, "rope", only(inputs, *tables, x="q"), {"y": inputs["q"].shape}, **rotation)["y"]
        k = run(backend, "rope", only(inputs, *tables, x="k"), {"y": inputs["k"].shape}, **rotation)["y"]
        appended = {**only(inputs, "v", "slots", *PAGE_OPERANDS), "k": k}
        written = run(backend, "append", appended, {}, kvHeads=2, headDim=head_dim)
        fused = run(backend, "rope_append", inputs, {"y": inputs["q"].shape}, kvHeads=2, **rotation)
        assert same_bits(fused, {"y": q, **written})


def test_no_rows():
    inputs = rope_inputs(0, 6, 2, 16, 8)
    y = run(cpu(2), "rope_append", inputs, {"y": (0, 96)}, kvHeads=2, headDim=16, pairing="half")
    assert y["y"].shape == (0, 96)
    assert same_bits(only(y, *PAGE_OPERANDS), only(inputs, *PAGE_OPERANDS))
