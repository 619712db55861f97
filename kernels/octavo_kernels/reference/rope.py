"""rope, append and rope_append: rotary positions and writing the KV pages."""

from __future__ import annotations

import torch

from .pages import write_rows


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
    steps: torch.Tensor,
    kvHeads: int,
    headDim: int,
) -> dict[str, torch.Tensor]:
    """Write k, v [T, kvHeads*headDim] into keys and values [G, kvHeads, 16*headDim] and steps [G, kvHeads, 32]."""
    write_rows(k, v, slots, keys, values, steps, headDim)
    return {}


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
    steps: torch.Tensor,
    headDim: int,
    pairing: str,
    kvHeads: int,
) -> dict[str, torch.Tensor]:
    """rope(q); append(rope(k), v)."""
    tables = {"positions": positions, "cos": cos, "sin": sin, "headDim": headDim, "pairing": pairing}
    write_rows(rope(x=k, **tables)["y"], v, slots, keys, values, steps, headDim)
    return rope(x=q, **tables)
