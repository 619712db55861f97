"""quantize and quantize_weight: LLM.int8() in integers (design 4.1, research/carry.md).

Every activation is an integer multiple of its row's step, written with base-255 digits in -127..127. An inlier needs
one digit; an outlier is a number with a carry.
"""

from __future__ import annotations

import torch

from ..program.shapes import carry_words, pad64
from .numbers import f32, row_sum, row_sum_of_squares, sqrt

BASE = 255
# Largest magnitude of two digits, 127 * 255 + 127, and the sum of magnitudes that keeps 254 * sum below 2^31.
LARGEST = 32512.0
LARGEST_SUM = 8e6
# Steps are normal floats and their inverses finite, also in rows of subnormals.
SMALLEST_STEP = 2.0**-126


def quantize(*, x: torch.Tensor, decompose: str, absolute: float, relative: float) -> dict[str, torch.Tensor]:
    """x [T, K] float32 -> low, high int8 [T, pad64(K)], carries int32 [T, carryWords(K)], step float32 [T].

    A row with NaN or Inf (or whose sum of magnitudes is Inf) has the step NaN and no digits.
    """
    magnitude = x.abs()
    a = magnitude.amax(1) if x.shape[1] else torch.zeros(x.shape[0])
    n = row_sum(magnitude)
    finite = torch.isfinite(a) & torch.isfinite(n)

    inlier = magnitude < _threshold(x, decompose, absolute, relative)[:, None]
    s = torch.where(inlier, magnitude, f32(0)).amax(1) if x.shape[1] else a
    step = _largest(s / f32(127), a / f32(LARGEST), n / f32(LARGEST_SUM), f32(SMALLEST_STEP))
    # Not 1/step: each bound's own inverse keeps |v| <= 127 for inliers and <= 32512 for all.
    inverse = _smallest(f32(127) / s, f32(LARGEST) / a, f32(LARGEST_SUM) / n, f32(1 / SMALLEST_STEP))

    usable = finite & (a > 0)
    v = torch.where(usable[:, None], torch.round(x * inverse[:, None]), f32(0)).to(torch.int32)
    high = torch.round(v.double() / BASE).to(torch.int32)  # never a tie: 255 is odd
    low = v - BASE * high
    pad = (0, pad64(x.shape[1]) - x.shape[1])
    return {
        "low": torch.nn.functional.pad(low, pad).to(torch.int8),
        "high": torch.nn.functional.pad(high, pad).to(torch.int8),
        "carries": _carries(low, high),
        "step": torch.where(usable, step, torch.where(finite, f32(0), f32(float("nan")))),
    }


def _threshold(x: torch.Tensor, decompose: str, absolute: float, relative: float) -> torch.Tensor:
    """[T]: elements of at least this magnitude are outliers."""
    rows = x.shape[0]
    if decompose == "off":
        return torch.full((rows,), float("inf"))
    if decompose == "all":
        return torch.zeros(rows)
    if decompose == "threshold":
        return torch.full((rows,), absolute)
    rms = sqrt(row_sum_of_squares(x) / f32(x.shape[1]))
    return torch.minimum(f32(absolute), f32(relative) * rms)


def _carries(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Per row: groups of 4 columns with a carry, sums of low and high, elements with a carry, groups ascending."""
    rows, columns = high.shape
    table = torch.zeros(rows, carry_words(columns), dtype=torch.int32)
    grouped = torch.nn.functional.pad(high, (0, -columns % 4)).reshape(rows, -(-columns // 4), 4)
    for t in range(rows):
        groups = grouped[t].ne(0).any(1).nonzero()[:, 0]
        table[t, 0] = len(groups)
        table[t, 4 : 4 + len(groups)] = groups
    table[:, 1] = low.sum(1)
    table[:, 2] = high.sum(1)
    table[:, 3] = high.ne(0).sum(1)
    return table


def quantize_weight(*, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """weight [N, K] -> codes int8 [N, K] in -127..127 and scale float32 [N], the largest magnitude of each row.

    A row with NaN or Inf has the scale NaN and the codes 0; what is there before a step is refused by its checks.
    """
    w = weight.float()
    finite = torch.isfinite(w).all(1)
    largest = w.abs().amax(1) if w.shape[1] else torch.zeros(w.shape[0])
    factor = torch.minimum(f32(127) / largest, f32(1 / SMALLEST_STEP))
    codes = torch.round(w * factor[:, None]).clamp(-127, 127)
    codes = torch.where((finite & (largest > 0))[:, None], codes, f32(0))
    return {"codes": codes.to(torch.int8), "scale": torch.where(finite, largest, f32(float("nan")))}


def _largest(*bounds: torch.Tensor) -> torch.Tensor:
    result = bounds[0]
    for bound in bounds[1:]:
        result = torch.maximum(result, bound)
    return result


def _smallest(*bounds: torch.Tensor) -> torch.Tensor:
    result = bounds[0]
    for bound in bounds[1:]:
        result = torch.minimum(result, bound)
    return result
