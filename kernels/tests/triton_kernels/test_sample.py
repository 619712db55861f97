"""A user would lose: on a GPU, the tokens that the same seed and settings draw everywhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import opened
from one_op import cpu, same_bits
from test_cpu_sample import DRAWS, Rows, logits_like_a_model


def triton():
    return opened("triton-interpreter")


def same_as_cpu(rows: Rows) -> dict[str, np.ndarray]:
    """The result, after comparing its bits with the C++ backend's."""
    result = rows.sample(triton())
    assert same_bits(result, rows.sample(cpu(2)))
    return result


@pytest.mark.parametrize("name", DRAWS)
def test_draws_and_log_probabilities_are_the_cpus_to_the_bit(name):
    same_as_cpu(Rows(logits_like_a_model(2, 3000), wanted=20, **DRAWS[name]))


@pytest.mark.parametrize("vocabulary", [1, 40])
def test_small_vocabularies(vocabulary):
    same_as_cpu(Rows(logits_like_a_model(3, vocabulary), temperature=1.0, top_p=0.9, wanted=20))


@pytest.mark.parametrize("settings", [{}, {"top_k": 1200}, {"top_p": 0.5}, {"min_p": 0.5}, {"top_k": 1}], ids=str)
def test_more_ids_than_can_be_put_in_order_are_searched(settings):
    """All ids are equally likely: where a draw falls is a matter of their order alone."""
    same_as_cpu(Rows(np.zeros((2, 1500), np.float32), temperature=1.0, wanted=3, **settings))


def test_logits_that_say_nothing():
    logits = np.full((4, 50), -np.inf, np.float32)
    logits[1] = np.nan
    logits[2, 7] = 1
    logits[3, [8, 9]] = np.inf
    for temperature in (0.0, 1.0):
        assert (
            Rows(logits, temperature=temperature).ids()
            == Rows(logits, temperature=temperature).sample(triton())["ids"].tolist()
        )


def test_the_lowest_id_wins_ties():
    logits = np.zeros((1, 600), np.float32)
    logits[0, [599, 513, 512]] = 2
    assert Rows(logits).sample(triton())["ids"].tolist() == [512]


def test_top_p_that_is_tiny_and_top_k_1_are_the_likeliest():
    logits = logits_like_a_model(3, 700)
    few: tuple[dict, ...] = ({"top_p": 1e-30}, {"top_p": 0.0}, {"top_k": 1})
    for settings in few:
        rows = Rows(logits, temperature=3.0, **settings)
        assert rows.sample(triton())["ids"].tolist() == logits.argmax(1).tolist()


def test_every_adjustment_together():
    rng = np.random.default_rng(8)
    same_as_cpu(
        Rows(
            logits_like_a_model(3, 700),
            temperature=0.7,
            penalties=(1.3, 0.25, 0.125),
            wanted=20,
            history=[rng.integers(-3, 700, 300).tolist() for _ in range(3)],
            before=[0, 280, 150],
            bias=[{int(i): float(i % 7) for i in rng.integers(0, 700, 5)} for _ in range(3)],
            allowed=[None, *(rng.permutation(700)[:350].tolist() for _ in range(2))],
            sampled=[5, 6, 7],
        )
    )


def test_history_means_what_was_drawn_in_the_step_before():
    logits = np.zeros((3, 30), np.float32)
    logits[:, 11], logits[:, 12] = 2, 1
    rows = Rows(logits, penalties=(1, 5, 0), history=[[-2], [-2], [-2]], sampled=[0, 11, 0])
    result = rows.sample(triton())
    assert result["ids"].tolist() == [12, 12, 12]
    assert result["sampled"].tolist()[:3] == [12, 12, 12]


def test_a_row_does_not_depend_on_the_other_rows():
    logits = logits_like_a_model(3, 600)
    together = Rows(logits, temperature=1.0, positions=np.arange(3)).sample(triton())
    for s in range(3):
        alone = Rows(logits[s : s + 1], temperature=1.0, positions=np.array([s])).sample(triton())
        assert alone["ids"][0] == together["ids"][s]


def test_no_rows():
    assert Rows(np.zeros((0, 9), np.float32)).sample(triton())["ids"].shape == (0,)


def test_a_captured_graph_has_room_for_more_rows():
    """Rows beyond the real ones draw nothing and leave what was drawn before them alone."""
    rows = Rows(logits_like_a_model(2, 600), temperature=1.0, top_p=0.9, wanted=3, sampled=[5, 6, 7])
    expected = rows.sample(triton())
    from octavo_kernels.triton import interpreter
    from octavo_kernels.triton.launch import Operand
    from octavo_kernels.triton.ops import PLANS
    from proofs.compile.context import MetaContext

    class Context(MetaContext):
        interpreted = True

        def scratch(self, dtype, *shape):
            return torch.full(shape, -1).to(dtype)

    inputs = rows.inputs()
    before = inputs["sampled"].copy()
    padded = {
        **inputs,
        **{name: np.pad(inputs[name], ((0, 2), (0, 0))) for name in ("logits", "settings", "counters")},
        **{name: np.pad(inputs[name], (0, 2), mode="edge") for name in ("historyStarts", "biasStarts")},
        **{"ids": np.full(4, 9, np.int32), "logprob": np.full(4, 9, np.float32)},
        **{"topIds": np.full((4, 20), 9, np.int32), "topLogprobs": np.full((4, 20), 9, np.float32)},
    }
    of_rows = ("logits", "settings", "counters", "ids", "logprob", "topIds", "topLogprobs")
    operands = {
        name: Operand(torch.from_numpy(array), torch.tensor([2 if name in of_rows else len(array)], dtype=torch.int32))
        for name, array in padded.items()
    }
    for launch in PLANS["sample"](Context(90), **operands, maskWords=rows.words):
        interpreter.run(launch)
    for name in ("ids", "logprob", "topIds", "topLogprobs"):
        assert np.array_equal(padded[name][:2], expected[name], equal_nan=True)
        assert (padded[name][2:] == 9).all()
    assert np.array_equal(padded["sampled"][2:], before[2:])
