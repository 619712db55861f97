"""norm: RMS and layer normalisation."""

from __future__ import annotations

import torch

from .numbers import f32, fma, row_sum, row_sum_of_squares, sqrt


def norm(
    *, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, kind: str, eps: float, unitOffset: bool
) -> dict[str, torch.Tensor]:
    """x [T, K] float32 -> y [T, K]; sums by blocks, everything else correctly rounded float32."""
    columns = f32(x.shape[1])
    w = f32(1) + weight.float() if unitOffset else weight.float()
    centred = x
    if kind == "layer":
        centred = x - (row_sum(x) / columns)[:, None]
    mean_square = row_sum_of_squares(centred) / columns
    # 1 / infinity would make zeros of the row.
    mean_square = torch.where(mean_square < torch.inf, mean_square, f32(torch.nan))
    inverse = f32(1) / sqrt(mean_square + f32(eps))
    normalised = centred * inverse[:, None]
    if kind == "layer" or bias is not None:
        b = torch.zeros_like(w) if bias is None else bias.float()
        return {"y": fma(normalised, w, b)}
    return {"y": normalised * w}
