"""sample: one id per row, deterministic, independent of the other rows.

Order: bias, penalties, mask; temperature 0 is argmax; else top-k, softmax of logit/temperature, top-p, min-p,
and the inverse of the cumulated probabilities, likeliest first, at a number drawn from (seed, position).
"""

from __future__ import annotations

import torch

from ..generated.ops import MAX_LOGPROBS
from .elementwise import resolve_ids
from .numbers import exp, f32

_PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF


def uniform(seed_low: int, seed_high: int, position: int) -> float:
    """In [0, 1), a multiple of 2^-24: Philox4x32-10 (Salmon et al. 2011) of the counter (position, 0, 0, 0)."""
    key = [seed_low & _WORD, seed_high & _WORD]
    x = [position & _WORD, 0, 0, 0]
    for _ in range(10):
        first, second = x[0] * _PHILOX_MULTIPLIERS[0], x[2] * _PHILOX_MULTIPLIERS[1]
        x = [(second >> 32) ^ x[1] ^ key[0], second & _WORD, (first >> 32) ^ x[3] ^ key[1], first & _WORD]
        key = [(key[0] + _PHILOX_WEYL[0]) & _WORD, (key[1] + _PHILOX_WEYL[1]) & _WORD]
    return (x[0] >> 8) * 2.0**-24


def sample(
    *,
    logits: torch.Tensor,
    settings: torch.Tensor,
    counters: torch.Tensor,
    historyStarts: torch.Tensor,
    history: torch.Tensor,
    biasStarts: torch.Tensor,
    biasIds: torch.Tensor,
    biasValues: torch.Tensor,
    masks: torch.Tensor,
    sampled: torch.Tensor,
    maskWords: int,
) -> dict[str, torch.Tensor]:
    """logits [S, V] -> ids [S], logprob [S], topIds and topLogprobs [S, 20] (filled up with -1 and NaN).

    From a row with NaN or infinity nothing is drawn: its id is -1, and it has no logprobs.
    """
    del maskWords
    rows = logits.shape[0]
    ids = torch.zeros(rows, dtype=torch.int32)
    logprob = torch.full((rows,), torch.nan)
    top_ids = torch.full((rows, MAX_LOGPROBS), -1, dtype=torch.int32)
    top_logprobs = torch.full((rows, MAX_LOGPROBS), torch.nan)
    seen, vocabulary = resolve_ids(history, sampled), logits.shape[1]
    for s in range(rows):
        if not logits[s].isfinite().all():
            ids[s] = -1
            continue
        temperature, top_p, min_p, repetition, presence, frequency = settings[s]
        top_k, seed_low, seed_high, position, wanted, mask, before = counters[s].tolist()
        row = logits[s].clone()
        biased = slice(int(biasStarts[s]), int(biasStarts[s + 1]))
        for token, value in zip(biasIds[biased].tolist(), biasValues[biased], strict=True):
            row[token] += value
        own = seen[int(historyStarts[s]) : int(historyStarts[s + 1])]
        known = (own >= 0) & (own < vocabulary)  # what means no id counts for none
        _penalise(row, own[known], own[before:][known[before:]], repetition, presence, frequency)
        if mask >= 0:
            token = torch.arange(row.numel())
            allowed = (masks[mask, token // 32] >> (token % 32)) & 1
            row[allowed == 0] = -torch.inf
        if temperature == 0:
            ids[s] = torch.nonzero(row == row.max())[0, 0]  # the lowest id on ties
        else:
            ids[s] = _draw(row, temperature, top_k, top_p, min_p, uniform(seed_low, seed_high, position))
        if wanted >= 0:
            logs = log_softmax(logits[s])
            logprob[s] = logs[ids[s]]
            best = torch.sort(logits[s], descending=True, stable=True).indices[:wanted]
            top_ids[s, : len(best)] = best.int()
            top_logprobs[s, : len(best)] = logs[best]
    sampled[:rows] = ids  # after all rows: history may refer to what was drawn before
    return {"ids": ids, "logprob": logprob, "topIds": top_ids, "topLogprobs": top_logprobs}


def log_softmax(row: torch.Tensor) -> torch.Tensor:
    """Of one row, through float64."""
    return torch.log_softmax(row.double(), -1).float()


def _penalise(
    row: torch.Tensor,
    seen: torch.Tensor,
    answer: torch.Tensor,
    repetition: torch.Tensor,
    presence: torch.Tensor,
    frequency: torch.Tensor,
) -> None:
    """Each distinct id once: repetition divides what is positive and multiplies the rest, of all that was seen; then
    both others subtract, of the answer alone (vLLM's rule)."""
    distinct = torch.unique(seen)
    values = row[distinct]
    row[distinct] = torch.where(values > 0, values / repetition, values * repetition)
    distinct, count = torch.unique(answer, return_counts=True)
    row[distinct] = (row[distinct] - presence) - frequency * count.float()


def _draw(
    row: torch.Tensor, temperature: torch.Tensor, top_k: int, top_p: torch.Tensor, min_p: torch.Tensor, u: float
) -> int:
    order = torch.sort(row, descending=True, stable=True).indices  # likeliest first, the lowest id on ties
    if top_k > 0:
        order = order[:top_k]
    scaled = row[order] / temperature
    # Nothing is allowed, or a logit that is infinite (after a bias or a penalty) or is so by the temperature leaves no
    # choice.
    if not scaled[0].isfinite():
        return int(order[0])
    p = exp(scaled - scaled[0])
    p = p / p.sum()
    # Smallest set that reaches top-p: those before which less is reached. min-p is relative to the likeliest.
    before = torch.cumsum(p.double(), 0) - p.double()
    kept = int(((before < top_p) & (p >= min_p * p[0])).sum()) if top_p < 1 or min_p > 0 else len(p)
    cumulated = torch.cumsum(p[: max(1, kept)].double(), 0)
    index = int(torch.searchsorted(cumulated, f32(u).double() * cumulated[-1], right=True))
    return int(order[min(index, len(cumulated) - 1)])
