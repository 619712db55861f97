"""rope, append and rope_append: rotary positions and writing the KV pages."""

from __future__ import annotations

import torch

from ..generated.ops import PAGE_SIZE


def rope(
    *, x: torch.Tensor, positions: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, headDim: int, pairing: str
) -> dict[str, torch.Tensor]:
    """Turn the first 2R elements of every head of x [T, heads*headDim] by row `positions[t]` of the tables [P, R]."""
    turned = cos.shape[1]
    heads = x.reshape(x.shape[0], x.shape[1] // headDim, headDim)
    c, s = cos[positions.long()][:, None, :], sin[positions.long()][:, None, :]
    y = heads.clone()
    if pairing == "half":
        first, second = slice(0, turned), slice(turned, 2 * turned)
    else:
        first, second = slice(0, 2 * turned, 2), slice(1, 2 * turned, 2)
    a, b = heads[..., first], heads[..., second]
    y[..., first] = a * c - b * s
    y[..., second] = b * c + a * s
    return {"y": y.reshape(x.shape)}


def append(
    *,
    k: torch.Tensor,
    v: torch.Tensor,
    slots: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    kvHeads: int,
    headDim: int,
) -> dict[str, torch.Tensor]:
    """Write k, v [T, kvHeads*headDim] into keys [G, kvHeads, headDim, 16] and values [G, kvHeads, 16, headDim].

    What the pages' type cannot hold becomes NaN: attention could not tell an infinite key from one without weight.
    """
    pages, offsets = slots.long() // PAGE_SIZE, slots.long() % PAGE_SIZE
    keys[pages, :, :, offsets] = _held(k.reshape(k.shape[0], kvHeads, headDim), keys.dtype)
    values[pages, :, offsets, :] = _held(v.reshape(v.shape[0], kvHeads, headDim), values.dtype)
    return {}


def _held(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    rounded = x.to(dtype)
    return torch.where(rounded.isfinite(), rounded, torch.tensor(torch.nan, dtype=dtype))


def rope_append(
    *,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    positions: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    slots: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    headDim: int,
    pairing: str,
    kvHeads: int,
) -> dict[str, torch.Tensor]:
    """rope(q); append(rope(k), v)."""
    tables = {"positions": positions, "cos": cos, "sin": sin, "headDim": headDim, "pairing": pairing}
    turned = rope(x=k, **tables)["y"]
    append(k=turned, v=v, slots=slots, keys=keys, values=values, kvHeads=kvHeads, headDim=headDim)
    return rope(x=q, **tables)
