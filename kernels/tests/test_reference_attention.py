"""Attention, rope and the KV pages against torch's and transformers' own formulas, and their invariances by ==."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from octavo_kernels.generated.ops import ATTENTION_BLOCK
from octavo_kernels.reference.attention import attention, query_levels
from octavo_kernels.reference.pages import kv_levels, quantize_rows
from octavo_kernels.reference.rope import append, rope, rope_append
from proofs.conformance.paging import paged
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

EPS = 2.0**-24
HEADS, KV_HEADS, HEAD = 6, 2, 16


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _sequence(length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q [length, heads, head] and keys, values [length, kv heads, head]."""
    k, v = _normal(seed + 1, 2, length, KV_HEADS, HEAD)
    return torch.from_numpy(_normal(seed, length, HEADS, HEAD)), torch.from_numpy(k), torch.from_numpy(v)


def _attend(q, k, v, queries: int | None = None, **options) -> torch.Tensor:
    """One sequence in pages 0, 1, ...: the last `queries` rows of q attend to all keys. [queries, heads, head]"""
    length = k.shape[0]
    queries = length if queries is None else queries
    pages = {name: torch.from_numpy(x) for name, x in paged(k.numpy(), v.numpy(), "int16").items()}
    options = {"scale": HEAD**-0.5, "causal": True, "window": 0, "softcap": 0.0, **options}
    y = attention(
        q=q[length - queries : length].reshape(queries, -1),
        **pages,
        pages=torch.arange(pages["keys"].shape[0], dtype=torch.int32)[None],
        lengths=torch.tensor([length], dtype=torch.int32),
        starts=torch.tensor([0, queries], dtype=torch.int32),
        heads=HEADS,
        kvHeads=KV_HEADS,
        headDim=HEAD,
        **options,
    )["y"]
    return y.reshape(queries, HEADS, HEAD)


def _held(x: torch.Tensor, most: int) -> torch.Tensor:
    """The numbers that the integers of x stand for, in float64."""
    integers, step = quantize_rows(x, most)
    return integers.double() * step.double()[..., None]


def _apart(q, k, v, queries: int, window: int = 0, softcap: float = 0.0, slopes=None) -> float:
    """The distance from softmax attention in float64 of the same integers, of what it may be: the largest."""
    options = {} if slopes is None else {"slopes": slopes}
    got = _attend(q, k, v, queries, window=window, softcap=softcap, **options).double().transpose(0, 1)
    length = k.shape[0]
    levels = kv_levels(torch.int16)
    q, k, v = _held(q[-queries:], query_levels(torch.int16, HEAD)), _held(k, levels[0]), _held(v, levels[1])
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    k, v = (x.repeat_interleave(HEADS // KV_HEADS, 0) for x in (k, v))
    distance = torch.arange(length - queries, length)[:, None] - torch.arange(length)[None]
    visible = (distance >= 0) & ((distance < window) if window else True)
    score = q @ k.transpose(1, 2) * HEAD**-0.5
    if softcap:
        score = softcap * torch.tanh(score / softcap)
    if slopes is not None:
        score = score - slopes.double()[:, None, None] * distance
    p = score.masked_fill(~visible, -torch.inf).softmax(-1)
    # A weight is off by half a level, 2^-13 of the block's largest at most, a term of the row's sum by half a level,
    # 2^-16 of its; exponentials by their polynomial's 2.8e-6 and what rounding moves scores, up to 40 here, by.
    blocks = torch.arange(length) // ATTENTION_BLOCK
    heaviest = sum(p[..., blocks == b].amax(-1) * visible[:, blocks == b].sum(-1) for b in range(int(blocks[-1]) + 1))
    allowed = ((2.0**-13 + 2.0**-16) * heaviest + 2 * (2.8e-6 + 8 * 40 * EPS)) * v.abs().max()
    return ((got - p @ v).abs().amax(-1) / allowed).max().item()


@pytest.mark.parametrize("length", [1, 15, 16, 17, 127, 128, 129, 257, 530])
def test_attention_is_softmax_attention(length: int):
    assert _apart(*_sequence(length), min(length, 20)) <= 1


@pytest.mark.parametrize("window", [1, 5, 128, 300])
def test_a_window_hides_older_keys(window: int):
    assert _apart(*_sequence(400), 20, window=window) <= 1


def test_a_softcap_bends_scores_and_slopes_lower_distant_ones():
    assert _apart(*_sequence(70), 70, softcap=2.0) <= 1
    slopes = torch.from_numpy((2.0 ** -np.arange(1, HEADS + 1)).astype(np.float32))
    assert _apart(*_sequence(70), 70, slopes=slopes) <= 1


@pytest.mark.parametrize("window", [0, 40])
def test_a_prompt_in_chunks_is_the_prompt_at_once(window: int):
    q, k, v = _sequence(270)
    whole = _attend(q, k, v, 60, window=window)  # positions 210 to 269
    for end, queries in ((211, 1), (240, 25), (256, 3), (257, 1), (270, 14), (270, 1)):
        part = _attend(q, k[:end], v[:end], queries, window=window)
        assert torch.equal(part, whole[end - queries - 210 : end - 210])


def test_neither_neighbours_nor_scattered_pages_change_a_sequence():
    first, second = _sequence(20, 10), _sequence(37, 20)
    one, other = (paged(k.numpy(), v.numpy(), "int16") for _, k, v in (first, second))
    order = np.array([3, 0, 4, 1, 2])  # where page i now lies
    pages = {name: torch.from_numpy(np.concatenate([one[name], other[name]])[np.argsort(order)]) for name in one}
    y = attention(
        q=torch.cat([second[0][-4:], first[0][-20:]]).reshape(24, -1),
        **pages,
        pages=torch.tensor([[4, 1, 2], [3, 0, -1]], dtype=torch.int32),
        lengths=torch.tensor([37, 20], dtype=torch.int32),
        starts=torch.tensor([0, 4, 24], dtype=torch.int32),
        heads=HEADS,
        kvHeads=KV_HEADS,
        headDim=HEAD,
        scale=HEAD**-0.5,
        causal=True,
        window=0,
        softcap=0.0,
    )["y"].reshape(24, HEADS, HEAD)
    assert torch.equal(y[:4], _attend(*second, 4)) and torch.equal(y[4:], _attend(*first))


def _tables(head: int, turned: int, positions: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    angle = torch.arange(positions)[:, None].double() / 10000 ** (torch.arange(turned) / turned)[None]
    return angle.cos().float(), angle.sin().float()


def test_half_rope_is_that_of_transformers():
    x, positions = (
        torch.from_numpy(_normal(1, 9, 3 * HEAD)),
        torch.tensor([0, 1, 5, 63, 2, 2, 7, 8, 30], dtype=torch.int32),
    )
    cos, sin = _tables(HEAD, HEAD // 2)
    got = rope(x=x, positions=positions, cos=cos, sin=sin, headDim=HEAD, pairing="half")["y"]
    full_cos, full_sin = (torch.cat([table, table], 1)[positions.long()][None] for table in (cos, sin))
    heads = x.reshape(1, 9, 3, HEAD).transpose(1, 2)
    expected, _ = apply_rotary_pos_emb(heads, heads, full_cos, full_sin)
    assert torch.equal(got, expected.transpose(1, 2).reshape(9, -1))


def test_interleaved_rope_turns_complex_numbers_and_partial_rope_leaves_the_rest():
    x, positions = torch.from_numpy(_normal(2, 4, 2 * HEAD)), torch.tensor([3, 0, 9, 63], dtype=torch.int32)
    cos, sin = _tables(HEAD, 5)
    got = rope(x=x, positions=positions, cos=cos, sin=sin, headDim=HEAD, pairing="interleaved")["y"].reshape(4, 2, HEAD)
    heads = x.reshape(4, 2, HEAD)
    assert torch.equal(got[..., 10:], heads[..., 10:])
    turned = torch.view_as_complex(heads[..., :10].double().reshape(4, 2, 5, 2))
    turned = turned * torch.complex(cos, sin)[positions.long()][:, None].to(torch.complex128)
    # two products and their sum
    assert (torch.view_as_real(turned).reshape(4, 2, 10) - got[..., :10]).abs().max() <= 3 * EPS * x.abs().max()


def _empty(pages: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    keys, values = torch.zeros(2, pages, KV_HEADS, 16 * HEAD, dtype=dtype)
    return {"keys": keys, "values": values, "steps": torch.zeros(pages, KV_HEADS, 32)}


@pytest.mark.parametrize("dtype", ["int16", "int8"])
def test_what_is_appended_is_what_attention_reads(dtype: str):
    k, v = _normal(3, 2, 40, KV_HEADS, HEAD)
    expected = paged(k, v, dtype)
    pages = _empty(3, getattr(torch, dtype))
    k, v = (torch.from_numpy(x).reshape(40, -1) for x in (k, v))
    for part in (slice(25, 40), slice(0, 25)):
        slots = torch.arange(40, dtype=torch.int32)[part]
        append(k=k[part], v=v[part], slots=slots, kvHeads=KV_HEADS, headDim=HEAD, **pages)
    for name in ("keys", "values"):
        assert np.array_equal(pages[name].numpy(), expected[name])
    written = [*range(8), *range(16, 24)]
    assert np.array_equal(pages["steps"][:2].numpy(), expected["steps"][:2])
    assert np.array_equal(pages["steps"][2][:, written].numpy(), expected["steps"][2][:, written])


def test_rope_append_is_rope_and_append():
    q, k, v = (
        torch.from_numpy(_normal(seed, 5, heads * HEAD)) for seed, heads in ((4, HEADS), (5, KV_HEADS), (6, KV_HEADS))
    )
    cos, sin = _tables(HEAD, HEAD // 2)
    how = {"positions": torch.arange(5, dtype=torch.int32), "cos": cos, "sin": sin, "headDim": HEAD, "pairing": "half"}
    slots = torch.tensor([17, 3, 0, 31, 16], dtype=torch.int32)
    parts = _empty(2, torch.int16)
    fused = {name: x.clone() for name, x in parts.items()}
    y = rope_append(q=q, k=k, v=v, slots=slots, kvHeads=KV_HEADS, **fused, **how)["y"]
    append(k=rope(x=k, **how)["y"], v=v, slots=slots, kvHeads=KV_HEADS, headDim=HEAD, **parts)
    assert torch.equal(y, rope(x=q, **how)["y"]) and all(torch.equal(fused[name], parts[name]) for name in parts)
