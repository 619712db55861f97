"""Sampling by its definition, step by step in plain Python; a wrong order of filters would change every text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from octavo_kernels.reference.sample import sample, uniform

_NEUTRAL = {"temperature": 1.0, "top_p": 1.0, "min_p": 0.0, "repetition": 1.0, "presence": 0.0, "frequency": 0.0}


def _sample(
    logits: np.ndarray,
    *,
    top_k: int = 0,
    seed: int = 0,
    positions: list[int] | None = None,
    logprobs: int = -1,
    history: tuple[list[int], ...] = (),
    before: list[int] | int = 0,
    bias: tuple[dict[int, float], ...] = (),
    mask: list[int] | None = None,
    sampled: list[int] | None = None,
    **settings: float,
) -> dict[str, np.ndarray]:
    """Every row with the same settings; history and bias by row."""
    rows, vocabulary = logits.shape
    words = -(-vocabulary // 32)
    masks = np.zeros((0 if mask is None else 1, words), np.uint32)
    for token in mask or []:
        masks[0, token // 32] |= np.uint32(1 << token % 32)
    counters = np.zeros((rows, 7), np.int32)
    counters[:, 0], counters[:, 1] = top_k, seed
    counters[:, 3] = range(rows) if positions is None else positions
    counters[:, 4], counters[:, 5] = logprobs, -1 if mask is None else 0
    counters[:, 6] = before
    history = history or ([],) * rows
    bias = bias or ({},) * rows
    previous = torch.tensor(sampled or [0] * rows, dtype=torch.int32)
    found = sample(
        logits=torch.from_numpy(logits),
        settings=torch.tensor([list({**_NEUTRAL, **settings}.values())] * rows).reshape(rows, 6),
        counters=torch.from_numpy(counters),
        historyStarts=_starts(history),
        history=torch.tensor([token for part in history for token in part], dtype=torch.int32),
        biasStarts=_starts(bias),
        biasIds=torch.tensor([token for part in bias for token in part], dtype=torch.int32),
        biasValues=torch.tensor([value for part in bias for value in part.values()], dtype=torch.float32),
        masks=torch.from_numpy(masks.view(np.int32)),
        sampled=previous,
        maskWords=words,
    )
    return {**{name: value.numpy() for name, value in found.items()}, "sampled": previous.numpy()}


def _starts(parts: tuple) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum([len(part) for part in parts])], dtype=torch.int32)


def _logits(rows: int, vocabulary: int = 60, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((rows, vocabulary)) * 2).astype(np.float32)


def _kept(row: np.ndarray, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0) -> tuple[list[int], np.ndarray]:
    """The ids that may be drawn, likeliest first, and their probabilities."""
    order = sorted(range(row.size), key=lambda token: (-row[token], token))
    order = order[: top_k or None]
    weights = np.exp((row[order].astype(np.float64) - row[order[0]]) / temperature)
    p = weights / weights.sum()
    smallest = next(count for count in range(1, len(p) + 1) if count == len(p) or p[:count].sum() >= top_p)
    count = min(smallest, int((p >= min_p * p[0]).sum()))
    return order[:count], p[:count] / p[:count].sum()


def test_philox_is_the_published_one():
    """The first word of Random123's known answer for a counter and a key of zeros."""
    assert uniform(0, 0, 0) == (0x6627E8D5 >> 8) * 2.0**-24
    # Its other vectors use words that `uniform` leaves zero; that all words count stands for them.
    drawn = {uniform(low, high, position) for low in range(10) for high in range(10) for position in range(10)}
    assert len(drawn) > 990 and all(0 <= u < 1 for u in drawn)


def test_seeds_are_32_bit_words_whatever_their_sign():
    assert uniform(-1, -(2**31), 5) == uniform(2**32 - 1, 2**31, 5)


def test_uniform_numbers_are_uniform():
    u = np.array([uniform(123, 456, position) for position in range(4096)])
    counts = np.histogram(u, 16, (0, 1))[0]
    # chi-squared with 15 degrees of freedom: 37.7 is exceeded once in a thousand; the numbers are fixed.
    assert ((counts - 256) ** 2 / 256).sum() < 37.7


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"temperature": 0.3},
        {"temperature": 3.0},
        {"top_k": 5},
        {"top_p": 0.7},
        {"min_p": 0.2},
        {"top_k": 20, "top_p": 0.9, "min_p": 0.01, "temperature": 1.7},
    ],
)
def test_the_drawn_id_is_the_inverse_of_the_cumulated_probabilities(how: dict):
    logits = _logits(200)
    ids = _sample(logits, seed=99, **how)["ids"]
    for position, (row, got) in enumerate(zip(logits, ids)):
        kept, p = _kept(row, **how)
        u = uniform(99, 0, position)
        expected = kept[min(int(np.searchsorted(np.cumsum(p), u, side="right")), len(kept) - 1)]
        assert got == expected


def test_ids_come_as_often_as_they_are_likely():
    row = np.log(np.array([[0.5, 0.25, 0.125, 0.0625, 0.0625]], np.float32))
    ids = _sample(np.repeat(row, 4000, 0), seed=7)["ids"]
    counts = np.bincount(ids, minlength=5)
    expected = 4000 * np.exp(row[0])
    assert ((counts - expected) ** 2 / expected).sum() < 18.5  # chi-squared, 4 degrees of freedom, one in a thousand


def test_temperature_zero_takes_the_lowest_of_the_best():
    logits = np.array([[1, 3, 3, 2], [-9, -5, -9, -5]], np.float32)
    assert _sample(logits, temperature=0.0)["ids"].tolist() == [1, 1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nothing_is_drawn_from_numbers_that_are_none(temperature: float):
    logits = np.array(
        [[np.nan, 1, np.nan, 2], [1, 2, np.inf, 3], [-np.inf, -5, -5, -5], [9, -90, -90, -90]], np.float32
    )
    assert _sample(logits, temperature=temperature)["ids"].tolist() == [-1, -1, -1, 0]


def test_penalties_count_each_id_of_the_history():
    row = np.array([[2.0, 2.0, -2.0, -2.0, 1.9]], np.float32)
    # id 0 divided by 2 = 1; then presence 0.25 and frequency 0.125 twice.
    for name, value in {"repetition": 2.0, "presence": 0.25, "frequency": 0.125}.items():
        settings: dict[str, Any] = {name: value}
        assert _sample(row, history=([0, 0, 2],), temperature=0.0, **settings)["ids"][0] == 1
    both: dict[str, Any] = {"repetition": 2.0, "presence": 0.25, "frequency": 0.125}
    # 2 / 2 - 0.25 - 2 * 0.125 = 0.5 for id 0; a mask leaves it against -2 * 2 - 0.375 for id 2.
    assert _sample(row, history=([0, 0, 2],), mask=[0, 2], temperature=0.0, **both)["ids"][0] == 0
    assert _sample(row, history=([0, 0, 2],), mask=[2, 3], temperature=0.0, **both)["ids"][0] == 3


def test_penalties_are_those_of_vllm():
    """Presence and frequency count the answer alone, repetition the prompt too (apply_penalties in vLLM's
    model_executor/layers/utils.py): the same request must give the same answer there and here."""
    rng = np.random.default_rng(8)
    rows, vocabulary = 200, 6
    logits = rng.standard_normal((rows, vocabulary)).astype(np.float32)
    prompts = [rng.integers(0, vocabulary, rng.integers(0, 4)).tolist() for _ in range(rows)]
    answers = [rng.integers(0, vocabulary, rng.integers(0, 4)).tolist() for _ in range(rows)]
    penalties: dict[str, Any] = {"repetition": 1.5, "presence": 0.5, "frequency": 0.25}
    histories = tuple(prompt + answer for prompt, answer in zip(prompts, answers, strict=True))
    found = _sample(logits, history=histories, before=[len(p) for p in prompts], temperature=0.0, **penalties)

    counts = np.array([np.bincount(answer, minlength=vocabulary) for answer in answers])
    seen = np.array([np.bincount(history, minlength=vocabulary) for history in histories]) > 0
    repeated = np.where(seen, np.float32(1.5), np.float32(1))
    expected = np.where(logits > 0, logits / repeated, logits * repeated)
    expected = expected - np.float32(0.25) * counts - np.float32(0.5) * (counts > 0)
    assert found["ids"].tolist() == expected.argmax(1).tolist()


def test_history_may_name_what_the_step_before_drew():
    row = np.array([[5.0, 4.0, 0.0], [5.0, 4.0, 0.0]], np.float32)
    found = _sample(row, history=([-2], [-1]), presence=2.0, temperature=0.0, sampled=[1, 0])
    assert found["ids"].tolist() == [1, 0], "row 0's history is what row 1 drew before: id 0"
    assert found["sampled"].tolist() == [1, 0]


def test_bias_and_mask_choose():
    logits = _logits(2)
    assert _sample(logits, bias=({}, {7: 50.0}), temperature=0.0)["ids"].tolist() == [int(logits[0].argmax()), 7]
    allowed = [3, 31, 32, 59]
    ids = _sample(np.repeat(logits, 50, 0), mask=allowed)["ids"]
    assert set(ids.tolist()) <= set(allowed) and len(set(ids.tolist())) > 1


def test_logprobs_are_of_the_unmodified_logits():
    logits = _logits(3)
    found = _sample(logits, logprobs=5, temperature=0.0, bias=({9: 50.0}, {}, {}))
    logs = torch.log_softmax(torch.from_numpy(logits).double(), 1).float().numpy()
    assert found["ids"][0] == 9 and found["logprob"].tolist() == [logs[s, found["ids"][s]] for s in range(3)]
    assert found["topIds"][:, :5].tolist() == np.argsort(-logits, 1, kind="stable")[:, :5].tolist()
    assert (found["topLogprobs"][:, :5] == np.take_along_axis(logs, found["topIds"][:, :5], 1)).all()
    assert (found["topIds"][:, 5:] == -1).all() and np.isnan(found["topLogprobs"][:, 5:]).all()
    assert np.isnan(_sample(logits)["logprob"]).all()


def test_a_row_does_not_depend_on_its_neighbours():
    logits = _logits(30)
    positions = list(range(100, 130))
    together = _sample(logits, seed=5, positions=positions, top_p=0.9)["ids"]
    for s in range(30):
        assert _sample(logits[s : s + 1], seed=5, positions=positions[s : s + 1], top_p=0.9)["ids"][0] == together[s]


def test_smallest_sets_that_reach_top_p():
    row = np.log(np.array([[0.5, 0.3, 0.2]], np.float32))
    ids = {p: set(_sample(np.repeat(row, 300, 0), top_p=p)["ids"].tolist()) for p in (0.0, 0.4, 0.6, 0.9, 1.0)}
    assert ids == {0.0: {0}, 0.4: {0}, 0.6: {0, 1}, 0.9: {0, 1, 2}, 1.0: {0, 1, 2}}
    assert math.isclose(sum(_kept(row[0], top_p=0.6)[1]), 1)
