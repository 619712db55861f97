"""quantize, the ops that it fuses, and quantize_weight: LLM.int8() in integers.

Every activation is an integer multiple of its row's step, written with base-255 digits in -127..127. An inlier needs
one digit; an outlier is a number with a carry.
"""

from __future__ import annotations

from functools import reduce

import torch

from ..program.shapes import blocks, carry_words, pad64
from .numbers import BLOCK, block_sums, block_sums_of_squares, f32, pair_tree, sqrt

BASE = 255
# Largest magnitude of two digits, 127 * 255 + 127, and the sum of magnitudes that keeps 254 * sum below 2^31.
LARGEST = 32512.0
LARGEST_SUM = 8e6
# Steps are normal floats and their inverses finite, also in rows of subnormals.
SMALLEST_STEP = 2.0**-126


def row_statistics(*, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """x [T, K] float32 -> statistics float32 [T, blocks, 3], of each 64 columns: max |x| (NaN where there is one),
    sum |x|, sum x^2."""
    magnitude, count = x.abs(), blocks(x.shape[1])
    padded = torch.nn.functional.pad(magnitude, (0, count * BLOCK - x.shape[1]))
    largest = padded.reshape(x.shape[0], count, BLOCK).amax(2)
    return {"statistics": torch.stack([largest, block_sums(magnitude), block_sums_of_squares(x)], 2)}


def row_inliers(
    *, x: torch.Tensor, statistics: torch.Tensor, decompose: str, absolute: float, relative: float, columns: int
) -> dict[str, torch.Tensor]:
    """The largest magnitude of these columns that is no outlier, [T]; 0 without one. `columns`: of the whole row, which
    the statistics are of."""
    if decompose == "off":
        threshold = f32(float("inf"))
    elif decompose == "all":
        threshold = f32(0)
    elif decompose == "threshold":
        threshold = f32(absolute)
    else:
        rms = sqrt(pair_tree(statistics[:, :, 2]) / f32(columns))
        threshold = torch.minimum(f32(absolute), f32(relative) * rms)[:, None]
    magnitude = x.abs()
    return {"inliers": torch.where(magnitude < threshold, magnitude, f32(0)).amax(1)}


def quantize_digits(*, x: torch.Tensor, statistics: torch.Tensor, inliers: torch.Tensor) -> dict[str, torch.Tensor]:
    """x [T, K] float32 -> low, high int8 [T, pad64(K)], carries int32 [T, carryWords(K)], step float32 [T].

    A row with NaN or Inf (or whose sum of magnitudes is Inf) has the step NaN and no digits; so has one that the
    statistics and inliers cannot be of.
    """
    a, n, s = statistics[:, :, 0].amax(1), pair_tree(statistics[:, :, 1]), inliers
    finite = (x.abs().amax(1) <= a) & (s >= 0) & (s <= a) & (a <= n) & (n < float("inf"))
    step = reduce(torch.maximum, (s / f32(127), a / f32(LARGEST), n / f32(LARGEST_SUM), f32(SMALLEST_STEP)))
    # Not 1/step: each bound's own inverse keeps |v| <= 127 for inliers and <= 32512 for all.
    inverses = (f32(127) / s, f32(LARGEST) / a, f32(LARGEST_SUM) / n, f32(1 / SMALLEST_STEP))
    inverse = reduce(torch.minimum, inverses)

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


def quantize(*, x: torch.Tensor, **attributes) -> dict[str, torch.Tensor]:
    """The three above: `quantize_digits` of the whole row's statistics and inliers."""
    statistics = row_statistics(x=x)["statistics"]
    inliers = row_inliers(x=x, statistics=statistics, columns=x.shape[1], **attributes)["inliers"]
    return quantize_digits(x=x, statistics=statistics, inliers=inliers)


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
