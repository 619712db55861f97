"""A user would lose: on a GPU, answers that stay the same whoever else is served and however a prompt is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import opened
from octavo_kernels.reference.pages import kv_levels
from one_op import reference, run, same_bits
from test_cpu_attention import Sequences

CASES = {
    "one key": Sequences([(1, 1)], head_dim=16),
    "one key less than a block, a block, one more": Sequences([(127, 1), (128, 1), (129, 1)], head_dim=16),
    "every head its own keys": Sequences([(19, 2)], heads=3, kv_heads=3, head_dim=16),
    "three heads per kv head": Sequences([(19, 1)], heads=3, kv_heads=1, head_dim=16),
    "eight heads per kv head": Sequences([(19, 1), (40, 1)], heads=8, kv_heads=1, head_dim=16),
    "more heads per kv head than a program has rows": Sequences([(140, 1)], heads=40, kv_heads=2, head_dim=16),
    "tiles of some heads of a kv head": Sequences([(40, 9)], heads=34, kv_heads=2, head_dim=16),
    "prefill that continues a sequence": Sequences([(270, 20)], heads=4, kv_heads=2, head_dim=16),
    "prefill of several sequences and one without": Sequences([(9, 9), (0, 0), (33, 21)], head_dim=16),
    "prefill of many tiles": Sequences([(300, 200)], heads=4, kv_heads=1, head_dim=16),
    "window smaller than a block": Sequences([(300, 24)], heads=2, kv_heads=1, head_dim=16, window=30),
    "window over blocks, one query": Sequences([(600, 1)], heads=2, kv_heads=1, head_dim=16, window=300),
    "both directions": Sequences([(300, 300), (20, 3)], heads=3, kv_heads=1, head_dim=16, causal=False),
    "both directions, window": Sequences([(300, 40)], heads=2, kv_heads=1, causal=False, window=70),
    "both directions, one query": Sequences([(300, 1), (20, 1)], head_dim=16, causal=False),
    "8-bit pages": Sequences([(300, 9)], heads=8, kv_heads=1, head_dim=80, kv="int8"),
    "8-bit pages, decode": Sequences([(300, 1), (20, 1)], head_dim=16, kv="int8"),
    "head of 50": Sequences([(33, 33)], heads=2, kv_heads=1, head_dim=50),
    "head of 80": Sequences([(20, 6)], heads=2, kv_heads=1, head_dim=80),
    "head of 96": Sequences([(20, 1)], heads=2, kv_heads=1, head_dim=96),
    "head of 256": Sequences([(20, 1), (30, 9)], heads=2, kv_heads=1, head_dim=256),
    "alibi and softcap": Sequences([(40, 8)], heads=4, kv_heads=2, head_dim=16, alibi=True, softcap=3.0),
    "bias by distance": Sequences([(300, 30), (5, 5)], head_dim=16, distances=33),
    "bias by distance, one query, both directions": Sequences([(140, 1)], heads=2, distances=64, causal=False),
}


def triton():
    return opened("triton-interpreter")


@pytest.mark.parametrize("name", CASES)
def test_equals_the_definition(name):
    case = CASES[name]
    inputs = case.inputs()
    assert same_bits({"y": case.attend(triton(), inputs)}, {"y": case.attend(reference(), inputs)})


def test_a_sequence_alone_and_in_a_batch_is_the_same():
    batch = Sequences([(260, 1), (20, 20), (3, 2)], head_dim=16)
    inputs = batch.inputs()
    together, starts = batch.attend(triton(), inputs), inputs["starts"]
    for b in range(len(batch.lengths)):
        own = {
            **inputs,
            "q": inputs["q"][starts[b] : starts[b + 1]],
            "pages": inputs["pages"][b : b + 1],
            "lengths": inputs["lengths"][b : b + 1],
            "starts": np.array([0, starts[b + 1] - starts[b]], np.int32),
        }
        assert np.array_equal(batch.attend(triton(), own), together[starts[b] : starts[b + 1]])


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_prompt_in_pieces_is_the_same(cut):
    """One query goes through blocks as programs, more of them through tiles."""
    whole = Sequences([(266, 26)], heads=3, kv_heads=1, head_dim=16, window=250)
    inputs = whole.inputs()
    expected = whole.attend(triton(), inputs)
    for first in range(0, 26, cut) if cut > 1 else (0, 15, 25):
        end = min(first + cut, 26)
        piece = {
            **inputs,
            "q": inputs["q"][first:end],
            "lengths": np.array([240 + end], np.int32),
            "starts": np.array([0, end - first], np.int32),
        }
        assert np.array_equal(whole.attend(triton(), piece), expected[first:end])


PAGES = ("keys", "values", "steps")


def test_pages_may_lie_anywhere():
    case = Sequences([(60, 9), (40, 1)], head_dim=16)
    inputs = case.inputs()
    expected = case.attend(triton(), inputs)
    order = np.random.default_rng(5).permutation(inputs["keys"].shape[0])
    moved = {**inputs, **{name: np.empty_like(inputs[name]) for name in PAGES}}
    for name in PAGES:
        moved[name][order] = inputs[name]
    moved["pages"] = np.where(inputs["pages"] < 0, -1, order[inputs["pages"]]).astype(np.int32)
    assert np.array_equal(case.attend(triton(), moved), expected)


@pytest.mark.parametrize("queries", [1, 12])
def test_what_a_query_does_not_see_does_not_matter(queries):
    case = Sequences([(44, queries)], head_dim=16)
    inputs = case.inputs()
    expected = case.attend(triton(), inputs)
    last = inputs["pages"][0, 43 // 16]
    steps = inputs["steps"].reshape(-1, case.kv_heads, 2, 16)
    steps[last, ..., 44 % 16 :] = np.nan
    keys = inputs["keys"].reshape(-1, case.kv_heads, case.head_dim // 2, 16, 2)
    keys[last, :, :, 44 % 16 :] = 4095
    values = inputs["values"].reshape(-1, case.kv_heads, 8, case.head_dim, 2)
    values[last, :, 44 % 16 // 2 :] = 2047
    assert np.array_equal(case.attend(triton(), inputs), expected)
    # The last key becomes unusable: only the last query, which sees it, loses its answer.
    steps[last, :, 1, 43 % 16] = np.nan
    spoilt = case.attend(triton(), inputs)
    assert np.isnan(spoilt[-1]).all()
    assert np.array_equal(spoilt[:-1], expected[:-1])


def test_a_query_that_no_float_can_weigh_gives_nan_for_itself_only():
    case = Sequences([(20, 2), (20, 7)], head_dim=16)
    inputs = case.inputs()
    expected = case.attend(triton(), inputs)
    inputs["q"][0] = np.inf
    y = case.attend(triton(), inputs)
    assert np.isnan(y[0]).all()
    assert np.array_equal(y[1:], expected[1:])


def test_no_queries():
    case = Sequences([(0, 0), (40, 0)], head_dim=16)
    assert case.attend(triton(), case.inputs()).shape == (0, case.heads * case.head_dim)


@pytest.mark.parametrize(
    "case", [Sequences([(20, 1), (9, 1)]), Sequences([(30, 11), (9, 2)])], ids=["decode", "prefill"]
)
@pytest.mark.parametrize("form", ["few programs", "many programs"])
def test_a_captured_graph_has_room_for_more_rows_and_sequences(case, form):
    """Rows beyond the real ones are left alone, and real ones come out as without that room, in every form."""
    case = replace(case, heads=4, kv_heads=2, head_dim=16)
    inputs = case.inputs()
    expected = case.attend(reference(), inputs)
    triton()
    from octavo_kernels.triton import interpreter
    from octavo_kernels.triton.launch import Operand
    from octavo_kernels.triton.ops import PLANS
    from proofs.compile.context import MetaContext

    class Context(MetaContext):
        interpreted = True

        def scratch(self, dtype, *shape):
            return torch.full(shape, -1).to(dtype)

    rows, sequences = expected.shape[0], 2
    padded = {
        **inputs,
        "q": np.pad(inputs["q"], ((0, 3), (0, 0))),
        "pages": np.pad(inputs["pages"], ((0, 2), (0, 0))),
        "lengths": np.pad(inputs["lengths"], (0, 2)),
        "starts": np.pad(inputs["starts"], (0, 2), constant_values=rows),
        "y": np.full((rows + 3, expected.shape[1]), 7, np.float32),
    }
    counts = {"q": rows, "y": rows, "pages": sequences, "lengths": sequences, "starts": sequences + 1}
    operands = {
        name: Operand(torch.from_numpy(array), torch.tensor([counts.get(name, len(array))], dtype=torch.int32))
        for name, array in padded.items()
    }
    launches = PLANS["attention"](
        Context(90, 132 if form == "few programs" else 1),
        **operands, heads=4, kvHeads=2, headDim=16, scale=16**-0.5, causal=True, window=0, softcap=0.0,
    )  # fmt: skip
    for launch in launches:
        interpreter.run(launch)
    assert np.array_equal(padded["y"][:rows], expected)
    assert (padded["y"][rows:] == 7).all()


@pytest.mark.parametrize("kv", ["int16", "int8"])
@pytest.mark.parametrize("queries", [1, 9])
@pytest.mark.parametrize("head_dim", [16, 80, 256])
def test_sums_at_the_edge_of_int32_are_exact(kv, queries, head_dim):
    """Rows whose elements are all as large as they get, of both signs: tensor cores saturate where integers wrap."""
    case = Sequences([(40, queries)], heads=2, kv_heads=1, head_dim=head_dim, kv=kv)
    inputs = case.inputs()
    levels_k, levels_v = kv_levels(getattr(torch, kv))
    keys = inputs["keys"].reshape(-1, head_dim // 2, 16, 2)
    keys[:] = np.where(np.arange(16) % 2, levels_k, -levels_k)[:, None]
    inputs["values"][:] = -levels_v
    inputs["steps"][:] = 1e-6
    inputs["q"][:] = -3.0
    assert same_bits({"y": case.attend(triton(), inputs)}, {"y": case.attend(reference(), inputs)})


@pytest.mark.parametrize("scale", [0.0, 1e30, 1e38])
@pytest.mark.parametrize("queries", [1, 150])
def test_scores_without_a_spread_and_infinite_ones_are_as_defined(scale, queries):
    """Blocks that need no mask are not looked through for infinite scores unless a step and the scale allow some."""
    case = Sequences([(300, queries)], heads=2, kv_heads=1, head_dim=16)
    inputs = case.inputs()
    inputs["q"][1::3] *= 1e-9

    def attend(backend):
        attributes = {"heads": 2, "kvHeads": 1, "headDim": 16, "scale": scale, "causal": True}
        return run(backend, "attention", inputs, {"y": inputs["q"].shape}, window=0, softcap=0.0, **attributes)

    expected = attend(reference())
    assert same_bits(attend(triton()), expected)
    assert np.isnan(expected["y"]).any() == (scale > 1e37)
