"""Attention, rope and the KV pages against torch's and transformers' own formulas, and their invariances by ==."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from octavo_kernels.reference.attention import attention
from octavo_kernels.reference.rope import append, rope, rope_append
from proofs.conformance.paging import paged
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

EPS = 2.0**-24
HEADS, KV_HEADS, HEAD = 6, 2, 16


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _sequence(length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q [length, heads, head] and keys, values in float16 that are exact as such, [length, kv heads, head]."""
    k, v = _normal(seed + 1, 2, length, KV_HEADS, HEAD).astype(np.float16).astype(np.float32)
    return torch.from_numpy(_normal(seed, length, HEADS, HEAD)), torch.from_numpy(k), torch.from_numpy(v)


def _attend(q, k, v, queries: int | None = None, **options) -> torch.Tensor:
    """One sequence in pages 0, 1, ...: the last `queries` rows of q attend to all keys. [queries, heads, head]"""
    length = k.shape[0]
    queries = length if queries is None else queries
    keys, values = paged(k.numpy(), v.numpy(), "float16")
    options = {"scale": HEAD**-0.5, "window": 0, "softcap": 0.0, **options}
    y = attention(
        q=q[length - queries : length].reshape(queries, -1),
        keys=torch.from_numpy(keys),
        values=torch.from_numpy(values),
        pages=torch.arange(keys.shape[0], dtype=torch.int32)[None],
        lengths=torch.tensor([length], dtype=torch.int32),
        starts=torch.tensor([0, queries], dtype=torch.int32),
        heads=HEADS,
        kvHeads=KV_HEADS,
        headDim=HEAD,
        **options,
    )["y"]
    return y.reshape(queries, HEADS, HEAD)


def _textbook(q, k, v, window: int = 0, softcap: float = 0.0, slopes=None) -> torch.Tensor:
    """Softmax attention in float64; plain sdpa where it has the option."""
    length = k.shape[0]
    q, k, v = (x.double().transpose(0, 1) for x in (q, k, v))
    k, v = (x.repeat_interleave(HEADS // KV_HEADS, 0) for x in (k, v))
    distance = torch.arange(length)[:, None] - torch.arange(length)[None]
    visible = (distance >= 0) & ((distance < window) if window else True)
    bias = torch.where(visible, 0.0, -torch.inf).double()[None].repeat(HEADS, 1, 1)
    if slopes is not None:
        bias = bias - slopes.double()[:, None, None] * distance
    if softcap:
        score = softcap * torch.tanh(q @ k.transpose(1, 2) * HEAD**-0.5 / softcap)
        return ((score + bias).softmax(-1) @ v).transpose(0, 1)
    y = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=bias[None])
    return y[0].transpose(0, 1)


def _bound(length: int, v: torch.Tensor, largest_score: float) -> float:
    # A score is off by a chain of HEAD roundings of up to its size, a weight by that, by exp's 2 ulp, and the chains
    # over keys by one rounding per key; all against max |v|, twice for numerator and denominator.
    return 2 * EPS * ((HEAD + 8) * largest_score + length + 16) * v.abs().max().item()


@pytest.mark.parametrize("length", [1, 15, 16, 17, 255, 256, 257, 530])
def test_attention_is_softmax_attention(length: int):
    q, k, v = _sequence(length)
    queries = min(length, 20)
    assert (_attend(q, k, v, queries).double() - _textbook(q, k, v)[-queries:]).abs().max() <= _bound(length, v, 8)


@pytest.mark.parametrize("window", [1, 5, 256, 300])
def test_a_window_hides_older_keys(window: int):
    q, k, v = _sequence(400)
    got = _attend(q, k, v, 20, window=window).double()
    assert (got - _textbook(q, k, v, window)[-20:]).abs().max() <= _bound(400, v, 8)


def test_a_softcap_bends_scores_and_slopes_lower_distant_ones():
    q, k, v = _sequence(70)
    assert (_attend(q, k, v, softcap=2.0).double() - _textbook(q, k, v, softcap=2.0)).abs().max() <= _bound(70, v, 16)
    slopes = torch.from_numpy((2.0 ** -np.arange(1, HEADS + 1)).astype(np.float32))
    got = _attend(q, k, v, slopes=slopes).double()
    assert (got - _textbook(q, k, v, slopes=slopes)).abs().max() <= _bound(70, v, 40)


@pytest.mark.parametrize("window", [0, 40])
def test_a_prompt_in_chunks_is_the_prompt_at_once(window: int):
    q, k, v = _sequence(270)
    whole = _attend(q, k, v, 60, window=window)  # positions 210 to 269
    for end, queries in ((211, 1), (240, 25), (256, 3), (257, 1), (270, 14), (270, 1)):
        part = _attend(q, k[:end], v[:end], queries, window=window)
        assert torch.equal(part, whole[end - queries - 210 : end - 210])


def test_neither_neighbours_nor_scattered_pages_change_a_sequence():
    first, second = _sequence(20, 10), _sequence(37, 20)
    (keys, values), (more_keys, more_values) = (paged(k.numpy(), v.numpy(), "float16") for _, k, v in (first, second))
    keys, values = np.concatenate([keys, more_keys]), np.concatenate([values, more_values])
    order = np.array([3, 0, 4, 1, 2])  # where page i now lies
    keys, values = (x[np.argsort(order)] for x in (keys, values))
    y = attention(
        q=torch.cat([second[0][-4:], first[0][-20:]]).reshape(24, -1),
        keys=torch.from_numpy(keys),
        values=torch.from_numpy(values),
        pages=torch.tensor([[4, 1, 2], [3, 0, -1]], dtype=torch.int32),
        lengths=torch.tensor([37, 20], dtype=torch.int32),
        starts=torch.tensor([0, 4, 24], dtype=torch.int32),
        heads=HEADS,
        kvHeads=KV_HEADS,
        headDim=HEAD,
        scale=HEAD**-0.5,
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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_is_appended_is_what_attention_reads(dtype: str):
    k, v = _normal(3, 2, 40, KV_HEADS, HEAD)
    expected = [torch.from_numpy(x.view(np.int16)) for x in paged(k, v, dtype)]
    kind = getattr(torch, dtype)
    keys, values = torch.zeros(3, KV_HEADS, HEAD, 16, dtype=kind), torch.zeros(3, KV_HEADS, 16, HEAD, dtype=kind)
    k, v = (torch.from_numpy(x).reshape(40, -1) for x in (k, v))
    for part in (slice(25, 40), slice(0, 25)):
        slots = torch.arange(40, dtype=torch.int32)[part]
        append(k=k[part], v=v[part], slots=slots, keys=keys, values=values, kvHeads=KV_HEADS, headDim=HEAD)
    assert torch.equal(keys.view(torch.int16), expected[0]) and torch.equal(values.view(torch.int16), expected[1])


def test_rope_append_is_rope_and_append():
    q, k, v = (
        torch.from_numpy(_normal(seed, 5, heads * HEAD)) for seed, heads in ((4, HEADS), (5, KV_HEADS), (6, KV_HEADS))
    )
    cos, sin = _tables(HEAD, HEAD // 2)
    how = {"positions": torch.arange(5, dtype=torch.int32), "cos": cos, "sin": sin, "headDim": HEAD, "pairing": "half"}
    slots = torch.tensor([17, 3, 0, 31, 16], dtype=torch.int32)
    pages = [
        torch.zeros(2, KV_HEADS, HEAD, 16, dtype=torch.float16),
        torch.zeros(2, KV_HEADS, 16, HEAD, dtype=torch.float16),
    ]
    fused = [page.clone() for page in pages]
    y = rope_append(q=q, k=k, v=v, slots=slots, keys=fused[0], values=fused[1], kvHeads=KV_HEADS, **how)["y"]
    append(k=rope(x=k, **how)["y"], v=v, slots=slots, keys=pages[0], values=pages[1], kvHeads=KV_HEADS, headDim=HEAD)
    assert torch.equal(y, rope(x=q, **how)["y"]) and torch.equal(fused[0], pages[0]) and torch.equal(fused[1], pages[1])
