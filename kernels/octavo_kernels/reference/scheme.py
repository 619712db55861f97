"""linear_scheme: the int8 schemes of the LLM.int8() paper (arXiv 2208.07339, section 2.1 and Table 1), one definition.

A scheme says how numbers become codes (absmax or zeropoint), what shares a scale (tensor, row, vector), and whether
outlier columns are multiplied apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .linear import outlier_product
from .numbers import f32
from .quantize import SMALLEST_STEP

# Codes from one end of the range to the other; an end is 127 of absmax's codes away from 0.
_LEVELS = {"absmax": 127.0, "zeropoint": 254.0}
_LARGEST_CODE = 127


@dataclass(frozen=True)
class Quantized:
    """`codes` + `zero` integers of unit / levels each: [rows, K] float32, and [rows] (or [1]) of zero and unit."""

    codes: torch.Tensor
    zero: torch.Tensor
    unit: torch.Tensor


def quantize_by(kind: str, whole: bool, numbers: torch.Tensor, ranged: torch.Tensor) -> Quantized:
    """Codes in -127..127 of numbers [rows, K] float32; `whole`: one scale for all rows, else one for each.

    `ranged`: as `numbers`, what the ranges are of. What shares its scale with NaN or Inf has the codes 0 and the unit
    NaN.
    """
    grouped = ranged.reshape(1, -1) if whole else ranged
    if not grouped.shape[1]:  # no rows
        nothing = torch.zeros(1)
        return Quantized(numbers, nothing, nothing)
    low = torch.minimum(grouped.amin(1), f32(0))
    high = torch.maximum(grouped.amax(1), f32(0))
    # Of magnitudes, so that it is never -0, whose inverse is negative.
    unit = torch.maximum(low.abs(), high.abs()) if kind == "absmax" else low.abs() + high.abs()
    finite = torch.isfinite(grouped).all(1) & torch.isfinite(unit)

    factor = torch.where(finite, torch.minimum(f32(_LEVELS[kind]) / unit, f32(1 / SMALLEST_STEP)), f32(0))
    # The code 0 of zeropoint is the middle of the range, so that both ends are codes: low is -127.
    zero = torch.round(torch.where(finite, low, f32(0)) * factor) + f32(_LARGEST_CODE)
    if kind == "absmax":
        zero = torch.zeros_like(zero)
    zero = torch.where(finite, zero, f32(0))
    codes = (torch.round(numbers * factor[:, None]) - zero[:, None]).clamp(-_LARGEST_CODE, _LARGEST_CODE)
    return Quantized(torch.where(finite[:, None], codes, f32(0)), zero, torch.where(finite, unit, f32(float("nan"))))


def linear_scheme(
    *, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, codes: str, scope: str, threshold: float
) -> dict[str, torch.Tensor]:
    """x [T, K] float32, weight [N, K] of any float dtype -> y [T, N].

    Outlier columns are those with |x| >= threshold in any row of the call, so a row's result depends on its neighbours,
    as it does for everything of the scope "tensor".
    """
    wide = weight.float()
    large = x.abs().ge(f32(threshold)) if threshold > 0 else torch.zeros(x.shape, dtype=torch.bool)
    outlier = large.any(0)
    # Ranges are of all inliers, also where another row takes their column out: as linear_published.
    rows = quantize_by(codes, scope == "tensor", torch.where(outlier, f32(0), x), torch.where(large, f32(0), x))
    # Weights are quantised whole, outlier columns too: in practice that is done before any activation is seen.
    columns = quantize_by(codes, scope != "vector", wide, wide)

    # An exact integer below 2^53: |code + zero| <= 254.
    left = (rows.codes + rows.zero[:, None]).double()
    right = (columns.codes + columns.zero[:, None]).double()
    total = (left @ right.T).float()
    levels = f32(_LEVELS[codes])
    y = (total * rows.unit[:, None]) * (columns.unit / (levels * levels))[None, :]

    y = y + outlier_product(x, outlier, right, columns.unit / levels)
    return {"y": y if bias is None else y + bias}
