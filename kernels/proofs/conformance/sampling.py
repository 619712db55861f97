"""Inputs of `sample`: rows of logits with every kind of setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

SAMPLE_AXES: dict[str, tuple] = {
    "S": (4, 0, 1, 9),
    "V": (50, 1, 33, 1000, 20000),
    "R": (9, 12),
    "temperature": (0.8, 0.0, 1e-3, 5.0),
    "topK": (0, 1, 7, 100000),
    "topP": (1.0, 0.9, 0.1, 0.0),
    "minP": (0.0, 0.05, 1.0),
    "penalties": (False, True),
    "biased": (False, True),
    "masked": (False, True),
    "logprobs": (-1, 0, 5, 20),
    "logits": ("ordinary", "ties", "peaked", "huge", "NaN", "Inf", "minus Inf"),
    "lost": (False, True),
}


def sampling(o: Mapping[str, Any], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """All operands of `sample`; rows 0, 2, ... have the case's settings, the others are greedy."""
    rows, vocabulary = o["S"], o["V"]
    settings = np.tile(np.array([0, 1, 0, 1, 0, 0], np.float32), (rows, 1))
    settings[::2, :3] = o["temperature"], o["topP"], o["minP"]
    if o["penalties"]:
        settings[:, 3:] = 1.3, 0.25, 0.125
    counters = np.zeros((rows, 7), np.int32)
    counters[::2, 0] = o["topK"]
    counters[:, 1:3] = rng.integers(-(2**31), 2**31, (rows, 2))
    counters[:, 3] = rng.integers(0, 2**31 - 1, rows)
    counters[:, 4] = o["logprobs"]
    counters[:, 5] = -1
    words = -(-vocabulary // 32)
    masks = np.zeros((0, words), np.int32)
    if o["masked"]:
        counters[1:, 5] = 1
        masks = rng.integers(-(2**31), 2**31, (2, words), dtype=np.int32)
        masks[:, 0] |= 1  # at least one id is allowed
    sampled = rng.integers(0, vocabulary, o["R"], dtype=np.int32)
    if o["lost"]:
        sampled[::2] = -1  # drawn from logits that were not finite
    history_starts, history = _lists(rng, rows, -o["R"], vocabulary, 6 if o["penalties"] else 0)
    # In some rows the answer has not begun, in some the history is all answer.
    counters[:, 6] = rng.integers(0, np.diff(history_starts) + 1)
    bias_starts, bias_ids = _lists(rng, rows, 0, vocabulary, 3 if o["biased"] else 0)
    return {
        "logits": _logits(o["logits"], rng, rows, vocabulary),
        "settings": settings,
        "counters": counters,
        "historyStarts": history_starts,
        "history": history,
        "biasStarts": bias_starts,
        "biasIds": bias_ids,
        "biasValues": (rng.standard_normal(bias_ids.size) * 4).astype(np.float32),
        "masks": masks,
        "sampled": sampled,
    }


def _logits(kind: str, rng: np.random.Generator, rows: int, vocabulary: int) -> np.ndarray:
    logits = (rng.standard_normal((rows, vocabulary)) * 3).astype(np.float32)
    if kind == "ties":
        logits = np.rint(logits)
    elif kind == "peaked":
        logits[:, -1] = 60
    elif kind == "huge":  # finite, but not divided by a small temperature or after a penalty
        logits *= np.float32(2e37)
    elif kind in _NOT_FINITE:  # one number of some rows, at their beginning, middle and end
        for s in range(0, rows, 2):
            logits[s, (0, vocabulary // 2, -1)[s // 2 % 3]] = _NOT_FINITE[kind]
    return logits


_NOT_FINITE = {"NaN": np.nan, "Inf": np.inf, "minus Inf": -np.inf}


def _lists(rng: np.random.Generator, rows: int, low: int, high: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """One list of ids per row: where each begins, and all ids. Some are empty, some name an id more than once."""
    counts = rng.integers(0, longest + 1, rows)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return starts, rng.integers(low, high, int(counts.sum()), dtype=np.int32)
