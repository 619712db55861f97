"""attention over KV pages: exact integer sums in blocks of 128 keys, blocks joined in ascending order.

A query's result depends on the keys that it sees only: inside a block all sums are integers, which keys are in a block
follows from their positions, and across blocks the order is fixed. So pages, the batch, or the cut of a prompt into
steps cannot change a bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..generated.ops import ATTENTION_BLOCK, PAGE_SIZE, QUERY_LEVELS, WEIGHT_BITS
from .functions import tanh
from .numbers import f32, fma, power_of_two
from .pages import kv_levels, page_type, quantize_rows, read_rows

_LOG2_E = f32(1.4426950408889634)
# 2^f on [-1/2, 1/2], highest power first: minimax of the relative error, 2.8e-6, with 2^0 = 1.
_EXP2_COEFFICIENTS = (9.582852944731712e-3, 5.5906426161527634e-2, 2.4024099111557007e-1, 6.931241750717163e-1, 1.0)
#: Levels of the sum of exponentials: 2^16 is 1.
_SUM_BITS = 16
_LARGEST_SUM = (1 << 31) - 1


def query_levels(dtype: torch.dtype, head_dim: int) -> int:
    """The largest |q| with pages of this type, such that a score fits int32: D * q * k < 2^31."""
    return min(QUERY_LEVELS[page_type(dtype)], _LARGEST_SUM // (kv_levels(dtype)[0] * head_dim))


def weight_bits(dtype: torch.dtype) -> int:
    """Weights of values have 2^bits levels with pages of this type."""
    return WEIGHT_BITS[page_type(dtype)]


@dataclass(frozen=True)
class _Scoring:
    """What makes a sum of products a score."""

    scale: torch.Tensor
    softcap: float
    causal: bool
    window: int
    slopes: torch.Tensor | None
    bias: torch.Tensor | None

    def visible(self, distance: torch.Tensor) -> torch.Tensor:
        """distance is key - query."""
        seen = distance <= 0 if self.causal else torch.ones_like(distance, dtype=torch.bool)
        return seen & (distance.abs() < self.window) if self.window else seen

    def exponents(
        self, products: torch.Tensor, step: torch.Tensor, distance: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """products [queries, heads, keys] times the key's step, step [queries, heads] of q, distance and seen [queries,
        keys] -> the block's exponent e [queries, heads], log2 of the exponentials below 2^e, and what is not finite."""
        if not (self.softcap or self.slopes is not None or self.bias is not None):
            factor = step * (self.scale * _LOG2_E)
            largest = _largest(products, seen)
            top = largest * factor
            exponent = torch.ceil(top)
            factors = factor[..., None].expand_as(products)
            below = fma(products - largest[..., None], factors, (top - exponent)[..., None])
        else:
            score = products * (step * self.scale)[..., None]
            if self.softcap:
                # score - score: an infinite score would be the cap, which passes for a number.
                score = f32(self.softcap) * tanh(score / f32(self.softcap)) + (score - score)
            if self.slopes is not None:
                score = score + self.slopes[None, :, None] * distance[:, None, :].float()
            if self.bias is not None:
                places = (distance + self.bias.shape[1] // 2).clamp(0, self.bias.shape[1] - 1)
                score = score + self.bias[:, places].transpose(0, 1)
            score = score * _LOG2_E
            exponent = torch.ceil(_largest(score, seen))
            below = score - exponent[..., None]
        bad = (~below.isfinite() & seen[:, None]).any(-1) | ~exponent.isfinite()
        return exponent, below, bad


def attention(
    *,
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    steps: torch.Tensor,
    pages: torch.Tensor,
    lengths: torch.Tensor,
    starts: torch.Tensor,
    slopes: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    heads: int,
    kvHeads: int,
    headDim: int,
    scale: float,
    causal: bool,
    window: int,
    softcap: float,
) -> dict[str, torch.Tensor]:
    """q [T, heads*headDim], keys and values [G, kvHeads, 16*headDim], steps [G, kvHeads, 32] -> y as q.

    pages [B, J], lengths [B] (this step's keys included), starts [B+1] (first query row of each sequence, and T).
    """
    scoring = _Scoring(f32(scale), softcap, causal, window, slopes, bias)
    y = torch.zeros_like(q)
    for b in range(lengths.shape[0]):
        first, end, length = int(starts[b]), int(starts[b + 1]), int(lengths[b])
        if first == end:
            continue
        used = pages[b, : -(-length // PAGE_SIZE)].long()
        # [length, heads, ...]: the sequence's keys and values in order, whatever its pages, for each head of queries.
        cached = read_rows(keys, values, steps, used, headDim)
        k, v, key_steps, value_steps = (x[:length].repeat_interleave(heads // kvHeads, 1) for x in cached)
        rows = q[first:end].reshape(end - first, heads, headDim)
        queries, query_steps = quantize_rows(rows, query_levels(keys.dtype, headDim))
        positions = torch.arange(length - (end - first), length)
        state = _Softmax(query_steps, headDim, weight_bits(keys.dtype))
        for block in range(0, length, ATTENTION_BLOCK):
            part = slice(block, min(block + ATTENTION_BLOCK, length))
            distance = torch.arange(part.start, part.stop)[None, :] - positions[:, None]
            seen = scoring.visible(distance)
            sums = torch.einsum("thd,khd->thk", queries.long(), k[part])
            exponents = scoring.exponents(sums.float() * key_steps[part].T[None], query_steps, distance, seen)
            state.add(*exponents, seen, v[part], value_steps[part])
        y[first:end] = state.result().reshape(end - first, -1)
    return {"y": y}


class _Softmax:
    """Blocks of keys in ascending order. Rescaled by powers of two, hence without rounding."""

    def __init__(self, query_steps: torch.Tensor, head_dim: int, weight_bits: int) -> None:
        shape = query_steps.shape
        self._weight_bits = weight_bits
        self._exponent = torch.full(shape, -torch.inf)
        self._total, self._output = torch.zeros(shape), torch.zeros(*shape, head_dim)
        self._bad = query_steps.isnan()

    def add(
        self,
        exponent: torch.Tensor,
        below: torch.Tensor,
        bad: torch.Tensor,
        seen: torch.Tensor,
        values: torch.Tensor,
        steps: torch.Tensor,
    ) -> None:
        """exponent, bad [queries, heads], below [queries, heads, keys], seen [queries, keys], values [keys, heads,
        headDim] int64, steps [keys, heads]. Rows that see nothing stay as they are."""
        any_seen = seen.any(-1)[:, None]
        visible = seen[:, None]
        p = torch.where(visible, _exp2(below), f32(0))
        weights = torch.where(visible, p * steps.T[None], f32(0))
        self._bad |= any_seen & (bad | weights.isnan().any(-1))
        total = torch.round(torch.where(p.isnan(), f32(0), p) * f32(2.0**_SUM_BITS)).long().sum(-1)
        weights = torch.where(weights.isnan(), f32(0), weights)
        # The least k with 2^k >= the largest weight.
        k = ((weights.amax(-1).view(torch.int32) + 0x7FFFFF) >> 23) - 127
        levels = torch.round(weights * _power_of_exponent((self._weight_bits - k).float())[..., None]).long()
        sums = torch.einsum("thk,khd->thd", levels, values)
        new = torch.maximum(self._exponent, torch.where(exponent.isfinite(), exponent, self._exponent))
        old, own = _power_of_exponent(self._exponent - new), _power_of_exponent(exponent - new)
        added = fma(total.float(), own * f32(2.0**-_SUM_BITS), self._total * old)
        factor = own * _power_of_exponent((k - self._weight_bits).float())
        output = fma(sums.float(), factor[..., None].expand_as(sums), self._output * old[..., None])
        self._total = torch.where(any_seen, added, self._total)
        self._output = torch.where(any_seen[..., None], output, self._output)
        self._exponent = torch.where(any_seen, new, self._exponent)

    def result(self) -> torch.Tensor:
        """[queries, heads, headDim]."""
        y = self._output / self._total[..., None]
        return torch.where(self._bad[..., None], f32(torch.nan), y)


def _largest(x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """[queries, heads, keys] -> [queries, heads]: of what is seen and a number."""
    return torch.where(seen[:, None] & ~x.isnan(), x, f32(-torch.inf)).amax(-1)


def _exp2(x: torch.Tensor) -> torch.Tensor:
    """2^x for x <= 0, not below 2^-125; NaN of NaN."""
    clamped = torch.where(x > f32(-125), x, f32(-125))
    n = torch.round(clamped)
    f = clamped - n
    y = f32(_EXP2_COEFFICIENTS[0])
    for coefficient in _EXP2_COEFFICIENTS[1:]:
        y = fma(y, f, f32(coefficient))
    return torch.where(x.isnan(), x, y * _power_of_exponent(n))


def _power_of_exponent(n: torch.Tensor) -> torch.Tensor:
    """2^max(n, -126) of whole float32 numbers up to 127."""
    return power_of_two(torch.where(n >= -126, n, f32(-126)).int())
