"""Attention in integers against softmax attention in float64, with bounds from its roundings; its invariances by ==."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from octavo_kernels.generated.ops import KV_LEVELS, PAGE_SIZE
from octavo_kernels.reference.attention import attention, query_levels
from octavo_kernels.reference.pages import write_rows

EPS = 2.0**-24
HEADS, KV_HEADS, HEAD = 6, 2, 16
WEIGHT_BITS = {"int16": 13, "int8": 14}


@dataclass
class Sequence:
    """q float32 [length, heads, head], k and v [length, kv heads, head]."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor

    def part(self, start: int, end: int) -> Sequence:
        return Sequence(self.q[start:end], self.k[start:end], self.v[start:end])


def _normal(length: int, seed: int = 0) -> Sequence:
    rng = np.random.default_rng(seed)
    shapes = (HEADS, HEAD), (KV_HEADS, HEAD), (KV_HEADS, HEAD)
    return Sequence(*(torch.from_numpy(rng.standard_normal((length, *s)).astype(np.float32)) for s in shapes))


class Pages:
    """A KV cache, whose pages hold integers and steps of nobody at first."""

    def __init__(self, pages: int, kv: str = "int16") -> None:
        shape = pages, KV_HEADS, PAGE_SIZE * HEAD
        self.keys, self.values = torch.full((2, *shape), -7, dtype=getattr(torch, kv))
        self.steps = torch.full((pages, KV_HEADS, 2 * PAGE_SIZE), torch.nan)

    def append(self, part: Sequence, start: int, table: list[int]) -> None:
        """Positions from `start` on of the sequence that has these pages."""
        positions = torch.arange(start, start + part.k.shape[0])
        slots = torch.tensor(table)[positions // PAGE_SIZE] * PAGE_SIZE + positions % PAGE_SIZE
        k, v = part.k.reshape(-1, KV_HEADS * HEAD), part.v.reshape(-1, KV_HEADS * HEAD)
        write_rows(k, v, slots, self.keys, self.values, self.steps, HEAD)

    def attend(self, queries: list[torch.Tensor], lengths: list[int], tables: list[list[int]], **options):
        """The last queries of sequences with so many keys. [queries of all, heads, head]"""
        widest = max(len(table) for table in tables)
        options = {"scale": HEAD**-0.5, "causal": True, "window": 0, "softcap": 0.0, **options}
        starts = np.cumsum([0, *(len(q) for q in queries)])
        return attention(
            q=torch.cat(queries).reshape(-1, HEADS * HEAD),
            keys=self.keys,
            values=self.values,
            steps=self.steps,
            pages=torch.tensor([table + [-9] * (widest - len(table)) for table in tables], dtype=torch.int32),
            lengths=torch.tensor(lengths, dtype=torch.int32),
            starts=torch.from_numpy(starts.astype(np.int32)),
            heads=HEADS,
            kvHeads=KV_HEADS,
            headDim=HEAD,
            **options,
        )["y"].reshape(-1, HEADS, HEAD)


def _attend(s: Sequence, queries: int | None = None, kv: str = "int16", **options) -> torch.Tensor:
    """One sequence in pages 0, 1, ...: its last `queries` rows attend. [queries, heads, head]"""
    length = s.k.shape[0]
    table = list(range(-(-length // PAGE_SIZE)))
    pages = Pages(len(table), kv)
    pages.append(s, 0, table)
    return pages.attend([s.q[length - (queries or length) :]], [length], [table], **options)


def _textbook(s: Sequence, causal=True, window=0, softcap=0.0, slopes=None, bias=None, scale=HEAD**-0.5):
    """Float64: scores and probabilities [heads, queries, keys], y [queries, heads, head]."""
    length = s.k.shape[0]
    q, k, v = (x.double().transpose(0, 1) for x in (s.q, s.k, s.v))
    k, v = (x.repeat_interleave(HEADS // KV_HEADS, 0) for x in (k, v))
    distance = torch.arange(length)[None] - torch.arange(length)[:, None]  # key - query
    visible = (distance <= 0) | (not causal)
    if window:
        visible &= distance.abs() < window
    scores = q @ k.transpose(1, 2) * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if slopes is not None:
        scores = scores + slopes.double()[:, None, None] * distance
    if bias is not None:
        scores = scores + bias.double()[:, (distance + bias.shape[1] // 2).clamp(0, bias.shape[1] - 1)]
    scores = scores.masked_fill(~visible, -torch.inf)
    probabilities = scores.softmax(-1)
    return scores, probabilities, (probabilities @ v).transpose(0, 1)


def _bound(s: Sequence, scores: torch.Tensor, probabilities: torch.Tensor, kv: str) -> torch.Tensor:
    """How far a query's results may be from the textbook's, [queries, heads, 1].

    Scores: half a step of each element of q and k, times the other's size; float32 makes some more roundings of them.
    A weight relative to the others is off by twice that, as an exponent. Values: half a step. The sum of exponentials:
    half of 2^-16 for each key; weights of values: half of a unit that is at most the largest weight times
    2^(1 - bits). Both count against a sum of at least (1/2) / (the largest probability).
    """
    most_q = query_levels(getattr(torch, kv), HEAD)
    most_k, most_v = KV_LEVELS[kv]
    q, k = s.q.double().transpose(0, 1), s.k.double().transpose(0, 1).repeat_interleave(HEADS // KV_HEADS, 0)
    step_q, step_k = q.abs().amax(-1) / most_q, k.abs().amax(-1) / most_k
    of_q = step_q[:, :, None] / 2 * (k.abs().sum(-1) + HEAD * step_k / 2)[:, None]
    of_k = step_k[:, None] / 2 * q.abs().sum(-1)[:, :, None]
    seen = probabilities > 0
    size = torch.where(seen, scores.abs(), 0).amax(-1)
    off = torch.where(seen, (of_q + of_k) * HEAD**-0.5, 0).amax(-1) + 8 * EPS * size
    largest, keys = probabilities.amax(-1), seen.sum(-1)
    weights = torch.expm1(2 * off) + 2 * 2.9e-6
    rounded = keys * largest * (2.0**-16 + 2.0 ** (1 - WEIGHT_BITS[kv]))
    blocks = 1 + scores.shape[-1] / 128
    relative = 1.01 * (weights + rounded + 1 / (2 * most_v) + 4 * EPS * blocks)
    return (relative * s.v.abs().max()).transpose(0, 1)[..., None]


def _check(s: Sequence, queries: int, kv: str = "int16", **options) -> None:
    scores, probabilities, expected = _textbook(s, **options)
    bound = _bound(s, scores, probabilities, kv)
    got = _attend(s, queries, kv, **options).double()
    assert ((got - expected[-queries:]).abs() <= bound[-queries:]).all()
    # Bounds that say something: a tenth of a value at most, where 8 bits allow it.
    assert kv == "int8" or bound.max() < 0.1 * s.v.abs().max()


@pytest.mark.parametrize("kv", WEIGHT_BITS)
@pytest.mark.parametrize("length", [1, 15, 16, 17, 127, 128, 129, 530])
def test_attention_is_softmax_attention(length: int, kv: str):
    _check(_normal(length), min(length, 20), kv)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [1, 5, 128, 300])
def test_a_window_hides_distant_keys(window: int, causal: bool):
    _check(_normal(400), 20 if causal else 400, window=window, causal=causal)


def test_without_causality_a_query_sees_later_keys():
    s = _normal(150)
    _check(s, 150, causal=False)
    assert not torch.equal(_attend(s, causal=False)[0], _attend(s)[0])


def test_a_softcap_bends_scores_slopes_lower_distant_ones_and_a_bias_knows_distances():
    s = _normal(200)
    slopes = torch.from_numpy((2.0 ** -np.arange(1, HEADS + 1)).astype(np.float32))
    bias = torch.from_numpy(np.random.default_rng(3).standard_normal((HEADS, 33)).astype(np.float32))
    _check(s, 200, softcap=2.0)
    _check(s, 200, slopes=slopes)
    _check(s, 200, bias=bias)
    _check(s, 200, bias=bias, causal=False)
    _check(s, 200, bias=bias[:, :1], slopes=slopes, softcap=5.0, causal=False)


@pytest.mark.parametrize("options", [{}, {"window": 40}, {"softcap": 3.0}], ids=str)
@pytest.mark.parametrize("kv", WEIGHT_BITS)
def test_a_prompt_in_chunks_is_the_prompt_at_once(kv: str, options: dict):
    s = _normal(270)
    whole = _attend(s, 160, kv, **options)  # positions 110 to 269
    for end, queries in ((111, 1), (128, 18), (140, 25), (256, 3), (257, 1), (270, 14), (270, 1)):
        part = _attend(s.part(0, end), queries, kv, **options)
        assert torch.equal(part, whole[end - queries - 110 : end - 110])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_schedule_no_pages_and_no_neighbours_change_a_bit(data: st.DataObject):
    """Sequences that grow by random chunks in steps of random company, in pages that lie anywhere."""
    kv = data.draw(st.sampled_from(list(WEIGHT_BITS)))
    options = {"window": data.draw(st.sampled_from([0, 0, 20])), "softcap": data.draw(st.sampled_from([0.0, 0.0, 4.0]))}
    lengths = data.draw(st.lists(st.integers(1, 150), min_size=1, max_size=3))
    sequences = [_normal(length, data.draw(st.integers(0, 9))) for length in lengths]
    alone = [_attend(s, kv=kv, **options) for s in sequences]
    needed = [-(-length // PAGE_SIZE) for length in lengths]
    free = data.draw(st.permutations(range(sum(needed) + 2)))
    tables = [list(free[sum(needed[:i]) :][:count]) for i, count in enumerate(needed)]
    pages = Pages(len(free), kv)
    done = [0] * len(lengths)
    while done != lengths:
        left = [i for i, length in enumerate(lengths) if done[i] < length]
        step = data.draw(st.lists(st.sampled_from(left), min_size=1, unique=True))
        ends = [data.draw(st.integers(done[i] + 1, lengths[i])) for i in step]
        for i, end in zip(step, ends, strict=True):
            pages.append(sequences[i].part(done[i], end), done[i], tables[i])
        rows = [sequences[i].q[done[i] : end] for i, end in zip(step, ends, strict=True)]
        y = pages.attend(rows, ends, [tables[i] for i in step], **options)
        for i, end, part in zip(step, ends, y.split([len(q) for q in rows]), strict=True):
            assert torch.equal(part, alone[i][done[i] : end])
            done[i] = end


@pytest.mark.parametrize("kv", WEIGHT_BITS)
def test_scores_beyond_2_to_24_choose_the_largest(kv: str):
    s = _normal(140)
    s.q[:], s.k[:] = 0, 0
    s.q[..., 0] = 2.0**20
    s.k[..., 0] = torch.arange(140)[:, None] * 2.0**10  # apart by 2^28
    y = _attend(s, 3, kv)
    # Half a step of the value, and half a unit of its weight.
    off = (1 / (2 * KV_LEVELS[kv][1]) + 2.0 ** -(WEIGHT_BITS[kv] - 1)) * s.v.abs().max()
    expected = s.v[-3:].repeat_interleave(HEADS // KV_HEADS, 1)
    assert ((y - expected).abs() <= off).all()
    s.q[..., 0] = -(2.0**20)
    assert ((_attend(s, 3, kv) - s.v[0].repeat_interleave(HEADS // KV_HEADS, 0)).abs() <= off).all()


@pytest.mark.parametrize("kv", WEIGHT_BITS)
@pytest.mark.parametrize("number", [0.0, 1e-42, 2.0**-61])
def test_queries_and_keys_of_nothing_see_the_mean_and_values_of_nothing_give_nothing(number: float, kv: str):
    for zero in "qk":
        s = _normal(150)
        getattr(s, zero)[:] = number
        mean = s.v.double().mean(0).repeat_interleave(HEADS // KV_HEADS, 0)
        # Scores are 0: weights are alike and exact, and what is left is half a step of each value.
        off = (1 / (2 * KV_LEVELS[kv][1]) + 8 * EPS) * s.v.abs().max()
        assert ((_attend(s, 1, kv)[0].double() - mean).abs() <= off).all()
    s = _normal(150)
    s.v[:] = number
    assert (_attend(s, kv=kv) == 0).all() == (number < 2.0**-61)
    assert (_attend(s, kv=kv).abs() <= 2.0**-60).all()


@pytest.mark.parametrize("kv", WEIGHT_BITS)
@pytest.mark.parametrize("name", ["q", "k", "v"])
@pytest.mark.parametrize("number", [2.0**50, -(2.0**50), np.inf, np.nan])
def test_a_row_from_2_to_50_on_is_none_and_only_who_sees_it_is_told(number: float, name: str, kv: str):
    s = _normal(40)
    good = _attend(s, kv=kv)
    getattr(s, name)[20, -1, 3] = number
    y = _attend(s, kv=kv)
    rows = slice(20, 21) if name == "q" else slice(20, 40)
    heads = slice(HEADS - 1, HEADS) if name == "q" else slice(HEADS - HEADS // KV_HEADS, HEADS)
    assert y[rows, heads].isnan().all()
    y[rows, heads] = good[rows, heads]
    assert torch.equal(y, good)
    getattr(s, name)[20, -1, 3] = 2.0**50 * (1 - EPS)
    assert _attend(s, kv=kv).isfinite().all()
