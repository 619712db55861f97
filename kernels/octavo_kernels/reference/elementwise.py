"""embed, cast, add, rows, gather: moving rows and adding them."""

from __future__ import annotations

import torch

from .numbers import f32

_TORCH_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def embed(
    *, tokens: torch.Tensor, table: torch.Tensor, sampled: torch.Tensor | None = None, scale: float
) -> dict[str, torch.Tensor]:
    """Rows of `table` [V, K] by id; the id -1-j is the one that row j of the previous step drew. NaN where there is no
    such row."""
    ids, vocabulary = resolve_ids(tokens, sampled), table.shape[0]
    rows = f32(scale) * table[ids.clamp(0, vocabulary - 1)].float()
    return {"y": torch.where(((ids >= 0) & (ids < vocabulary))[:, None], rows, torch.nan)}


def resolve_ids(ids: torch.Tensor, sampled: torch.Tensor | None) -> torch.Tensor:
    """Negative ids replaced by what they mean, -1 where that is nothing; int64."""
    ids = ids.long()
    if sampled is None or not sampled.numel():
        return ids
    places = -1 - ids
    held = torch.where(places < sampled.numel(), sampled.long()[places.clamp(0, sampled.numel() - 1)], -1)
    return torch.where(ids < 0, held, ids)


def cast(*, x: torch.Tensor, dtype: str) -> dict[str, torch.Tensor]:
    """Nearest, ties to even; too large is infinite."""
    return {"y": x.to(_TORCH_DTYPES[dtype])}


def add(*, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
    """The residual."""
    return {"y": a + b}


def rows(*, x: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
    """Rows that go on: those that are sampled."""
    return {"y": x[index.long()]}


def gather(*, x: torch.Tensor, columns: int, first: int) -> dict[str, torch.Tensor]:
    """Of one rank: all columns are its own. Others come by way of the executor's group."""
    y = x.new_empty(x.shape[0], columns)
    y[:, first : first + x.shape[1]] = x
    return {"y": y}
