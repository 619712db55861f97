"""KV pages: rows of K and V as integers times a step, and how a page holds them."""

from __future__ import annotations

import torch

from ..generated.ops import KV_LEVELS, PAGE_SIZE
from .numbers import f32

#: From here on a row counts as not finite; below the smallest, all of a row is 0.
_LARGEST, _SMALLEST = 2.0**50, 2.0**-60


def page_type(dtype: torch.dtype) -> str:
    """As the op table calls it."""
    return str(dtype).removeprefix("torch.")


def kv_levels(dtype: torch.dtype) -> tuple[int, int]:
    """The largest integers of K and V in pages of this type."""
    return KV_LEVELS[page_type(dtype)]


def quantize_rows(x: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 [..., D] -> integers up to `most` [..., D] int32, step [...]; that is NaN where a row is not finite."""
    largest = x.abs().amax(-1)
    good = largest < _LARGEST  # not so with NaN
    largest = torch.where(good, largest, f32(1)).clamp(min=_SMALLEST)
    numbers = torch.where(good[..., None], x, f32(0))
    integers = torch.round(numbers * (f32(most) / largest)[..., None]).int()
    return integers, torch.where(good, largest / f32(most), f32(torch.nan))


def write_rows(
    k: torch.Tensor,
    v: torch.Tensor,
    slots: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    steps: torch.Tensor,
    head_dim: int,
) -> None:
    """k, v [T, kvHeads*headDim] into keys and values [G, kvHeads, 16*headDim] and steps [G, kvHeads, 32]."""
    page, offset = slots.long() // PAGE_SIZE, slots.long() % PAGE_SIZE
    heads = keys.shape[1]
    most_k, most_v = kv_levels(keys.dtype)
    integers, key_steps = quantize_rows(k.reshape(-1, heads, head_dim), most_k)
    pairs = integers.reshape(-1, heads, head_dim // 2, 2).to(keys.dtype)
    keys.view(-1, heads, head_dim // 2, PAGE_SIZE, 2)[page, :, :, offset] = pairs
    integers, value_steps = quantize_rows(v.reshape(-1, heads, head_dim), most_v)
    pairs = values.view(-1, heads, PAGE_SIZE // 2, head_dim, 2)
    pairs[page, :, offset // 2, :, offset % 2] = integers.to(values.dtype)
    steps[page, :, offset] = key_steps
    steps[page, :, PAGE_SIZE + offset] = value_steps


def read_rows(
    keys: torch.Tensor, values: torch.Tensor, steps: torch.Tensor, used: torch.Tensor, head_dim: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The pages `used` in order -> K and V int64 [16*pages, kvHeads, headDim], their steps [16*pages, kvHeads]."""
    heads = keys.shape[1]
    k = keys[used].view(-1, heads, head_dim // 2, PAGE_SIZE, 2).permute(0, 3, 1, 2, 4)
    v = values[used].view(-1, heads, PAGE_SIZE // 2, head_dim, 2).permute(0, 2, 4, 1, 3)
    both = steps[used].view(-1, heads, 2, PAGE_SIZE).permute(2, 0, 3, 1).reshape(2, -1, heads)
    return k.reshape(-1, heads, head_dim).long(), v.reshape(-1, heads, head_dim).long(), both[0], both[1]
