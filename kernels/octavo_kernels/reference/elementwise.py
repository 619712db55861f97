"""embed, cast, add, rows: moving rows and adding them."""

from __future__ import annotations

import torch

from .numbers import f32

_TORCH_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def embed(
    *, tokens: torch.Tensor, table: torch.Tensor, sampled: torch.Tensor | None = None, scale: float
) -> dict[str, torch.Tensor]:
    """Rows of `table` [V, K] by id; the id -1-j is the one that row j of the previous step drew, and the row of what
    was drawn from logits that were not finite, -1, is NaN."""
    ids = resolve_ids(tokens, sampled)
    y = f32(scale) * table[ids.clamp(min=0)].float()
    return {"y": torch.where(ids[:, None] < 0, f32(torch.nan), y)}


def resolve_ids(ids: torch.Tensor, sampled: torch.Tensor | None) -> torch.Tensor:
    """Negative ids replaced by what they mean; int64."""
    ids = ids.long()
    if sampled is None:
        return ids
    return torch.where(ids < 0, sampled.long()[(-1 - ids).clamp(min=0)], ids) if sampled.numel() else ids


def cast(*, x: torch.Tensor, dtype: str) -> dict[str, torch.Tensor]:
    """Nearest, ties to even; too large is infinite."""
    return {"y": x.to(_TORCH_DTYPES[dtype])}


def add(*, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
    """The residual."""
    return {"y": a + b}


def rows(*, x: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
    """Rows that go on: those that are sampled."""
    return {"y": x[index.long()]}
