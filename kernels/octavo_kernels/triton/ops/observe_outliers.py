"""observe_outliers: what `octavo inspect` counts of activations, over all steps."""

from __future__ import annotations

import triton
import triton.language as tl

from ..launch import Context, Launch, Operand, cdiv, strides, tensors

_COLUMNS, _ROWS = 128, 16


@triton.jit
def count_outliers(
    x, counts, largest, rows, x_stride, columns, threshold, BLOCK_R: tl.constexpr, BLOCK_K: tl.constexpr
):
    """One program per block of columns; nobody else writes these."""
    k = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    count = tl.load(rows)
    found = tl.load(counts + k, mask=k < columns, other=0)
    most = tl.load(largest + k, mask=k < columns, other=0.0)
    for start in tl.range(0, count, BLOCK_R):
        m = start + tl.arange(0, BLOCK_R)
        inside = (m < count)[:, None] & (k < columns)[None, :]
        numbers = tl.load(x + m.to(tl.int64)[:, None] * x_stride + k[None, :], mask=inside, other=0.0)
        # NaN neither counts nor is large.
        magnitude = tl.where(inside & (numbers == numbers), tl.abs(numbers), -1.0)
        found += tl.sum((magnitude >= threshold).to(tl.int32), axis=0)
        most = tl.maximum(most, tl.max(magnitude, axis=0))
    tl.store(counts + k, found, mask=k < columns)
    tl.store(largest + k, most, mask=k < columns)


def observe_outliers(
    context: Context, *, x: Operand, counts: Operand, largest: Operand, threshold: float
) -> list[Launch]:
    """x [T, K] float32; counts int32 [K] and largest float32 [K] are added to."""
    rows, columns = x.shape
    if rows == 0:
        return []
    arguments = {**tensors(x=x, counts=counts, largest=largest), **strides(x=x)}
    arguments |= {"rows": x.rows, "columns": columns, "threshold": threshold}
    constants = {"BLOCK_R": _ROWS, "BLOCK_K": _COLUMNS}
    return [Launch(count_outliers, (cdiv(columns, _COLUMNS),), arguments, constants)]
