"""attention: causal attention over KV pages, in ascending chunks of 256 keys.

A query's result depends on its own keys only: chunks begin at multiples of 256 whatever the pages, the batch or the
cut of a prompt into steps, and are combined in ascending order by one formula.
"""

from __future__ import annotations

import torch

from ..generated.ops import ATTENTION_CHUNK, PAGE_SIZE
from .functions import tanh
from .numbers import LANES, exp, f32, fma, fma_chain, lane_tree


def attention(
    *,
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    pages: torch.Tensor,
    lengths: torch.Tensor,
    starts: torch.Tensor,
    slopes: torch.Tensor | None = None,
    heads: int,
    kvHeads: int,
    headDim: int,
    scale: float,
    window: int,
    softcap: float,
) -> dict[str, torch.Tensor]:
    """q [T, heads*headDim], keys [G, kvHeads, headDim, 16], values [G, kvHeads, 16, headDim] -> y as q.

    pages [B, J], lengths [B] (this step's keys included), starts [B+1] (first query row of each sequence, and T).
    """
    y = torch.zeros_like(q)
    for b in range(lengths.shape[0]):
        first, end, length = int(starts[b]), int(starts[b + 1]), int(lengths[b])
        if first == end:
            continue
        used = pages[b, : -(-length // PAGE_SIZE)].long()
        # [length, kvHeads, headDim]: the sequence's keys and values in order, whatever its pages.
        k = keys[used].float().permute(0, 3, 1, 2).reshape(-1, kvHeads, headDim)[:length]
        v = values[used].float().permute(0, 2, 1, 3).reshape(-1, kvHeads, headDim)[:length]
        group = heads // kvHeads
        queries = q[first:end].reshape(end - first, heads, headDim)
        positions = torch.arange(length - (end - first), length)
        state = _Softmax(queries)
        lowest = max(0, int(positions[0]) - window + 1) if window else 0
        for chunk in range(lowest // ATTENTION_CHUNK * ATTENTION_CHUNK, length, ATTENTION_CHUNK):
            part = slice(chunk, min(chunk + ATTENTION_CHUNK, length))
            key = torch.arange(part.start, part.stop)
            distance = positions[:, None] - key[None, :]
            visible = distance.ge(0) & (distance.lt(window) if window else True)
            chunk_k, chunk_v = (x[part].repeat_interleave(group, 1) for x in (k, v))  # [keys, heads, headDim]
            score = _scores(queries, chunk_k, scale, softcap)
            if slopes is not None:
                score = score + slopes[None, :, None] * (-distance[:, None, :]).float()
            state.add(score, visible[:, None, :].expand(score.shape), chunk_v)
        y[first:end] = state.result().reshape(end - first, -1)
    return {"y": y}


def _scores(queries: torch.Tensor, keys: torch.Tensor, scale: float, softcap: float) -> torch.Tensor:
    """[queries, heads, headDim], [keys, heads, headDim] -> [queries, heads, keys]."""
    a, b = queries[:, :, None, :], keys.permute(1, 0, 2)[None]
    score = f32(scale) * fma_chain(a, b, torch.zeros(a.shape[0], a.shape[1], b.shape[2]))
    # score - score: an infinite score would be the cap, which passes for a number.
    return f32(softcap) * tanh(score / f32(softcap)) + (score - score) if softcap else score


class _Softmax:
    """Chunks in ascending order; each has its own maximum, sum and output, joined at the end."""

    def __init__(self, queries: torch.Tensor) -> None:
        self._shape = queries.shape
        self._chunks: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def add(self, score: torch.Tensor, visible: torch.Tensor, values: torch.Tensor) -> None:
        """score, visible [queries, heads, keys], values [keys, heads, headDim]."""
        largest = torch.where(visible, score, f32(-torch.inf)).amax(2)
        below = score - largest[:, :, None]
        # A score that overflowed is no key without weight.
        p = torch.where(visible, torch.where(below == -torch.inf, f32(torch.nan), exp(below)), f32(0))
        lanes = torch.nn.functional.pad(p, (0, -p.shape[2] % LANES)).unflatten(2, (-1, LANES))
        total = torch.zeros_like(lanes[:, :, 0])
        for i in range(lanes.shape[2]):
            total = total + lanes[:, :, i]
        output = torch.zeros(self._shape)
        for i in range(p.shape[2]):
            added = fma(p[:, :, i, None], values[None, i], output)
            output = torch.where(visible[:, :, i, None], added, output)  # an unseen NaN does no harm
        self._chunks.append((largest, lane_tree(total), output))

    def result(self) -> torch.Tensor:
        """[queries, heads, headDim]."""
        m = torch.stack([largest for largest, _, _ in self._chunks]).amax(0)
        total, output = torch.zeros(self._shape[:2]), torch.zeros(self._shape)
        for largest, part, chunk_output in self._chunks:
            weight = exp(largest - m)
            total = fma(weight, part, total)
            output = fma(weight[:, :, None], chunk_output, output)
        return output / total[:, :, None]
