"""rope and append against transformers' and textbook formulas. A user would lose: positions, and what a cache holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from octavo_kernels.reference.rope import append, rope, rope_append
from proofs.conformance.paging import paged
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

EPS = 2.0**-24
HEADS, KV_HEADS, HEAD = 6, 2, 16


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


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
