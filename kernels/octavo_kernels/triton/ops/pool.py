"""pool: one embedding per sequence, the mean or the last of its rows, and of unit length on request."""

from __future__ import annotations

import triton
import triton.language as tl

from ..launch import Context, Launch, Operand, cdiv, strides, tensors
from ..numbers import block_sum_of_squares, is_finite
from .row import load_tile, store_tile, tile_columns

_BLOCK = 256


@triton.jit
def pool_rows(
    x, starts, y, sequences, x_stride, y_stride, columns,
    LAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (block of columns, sequence): rows added in order and divided by their number, or the last one."""
    b = tl.program_id(1)
    if b < tl.load(sequences):
        k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = k < columns
        begin = tl.load(starts + b)
        end = tl.load(starts + b + 1)
        total = tl.zeros((BLOCK,), tl.float32)
        if begin < end:
            if LAST:
                total = tl.load(x + (end - 1).to(tl.int64) * x_stride + k, mask=inside, other=0.0)
            else:
                row = x + begin.to(tl.int64) * x_stride + k
                for _ in tl.range(begin, end):
                    total = total + tl.load(row, mask=inside, other=0.0)
                    row += x_stride
                total = tl.div_rn(total, tl.zeros_like(total) + (end - begin).to(tl.float32))
        tl.store(y + b.to(tl.int64) * y_stride + k, total, mask=inside)


@triton.jit
def finish_rows(y, counters, sequences, y_stride, NORMALIZE: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr):
    """Program (sequence): the row by its length, in place; zeros if that is zero. BLOCKS * 64 columns cover the row.

    Counts rows that are not finite. By an infinite length numbers would become zeros: they become NaN.
    """
    b = tl.program_id(0)
    if b < tl.load(sequences):
        row = y + b.to(tl.int64) * y_stride
        k = tile_columns(0, BLOCKS)
        v = load_tile(row, k, COLUMNS, BLOCKS)
        if NORMALIZE:
            length = tl.sqrt_rn(block_sum_of_squares(v, BLOCKS))
            known = length < float("inf")
            divisor = tl.zeros_like(v) + tl.where(known, length, float("nan"))
            store_tile(row, k, tl.where(divisor == 0, 0.0, tl.div_rn(v, divisor)), COLUMNS, BLOCKS)
        else:
            known = tl.min(is_finite(v).to(tl.int32), axis=None) > 0
        if ~known:
            tl.atomic_add(counters + 1, tl.full((), 1, tl.int64), sem="relaxed")


def pool(context: Context, *, x: Operand, starts: Operand, y: Operand, kind: str, normalize: bool) -> list[Launch]:
    """x float32 [T, K] -> y [B, K]: the mean or the last of each sequence's rows starts[b] .. starts[b+1]; zeros for an
    empty sequence."""
    sequences, columns = y.shape
    if sequences == 0:
        return []
    of_y = {**tensors(y=y), **strides(y=y), "sequences": y.rows}
    arguments = {**tensors(x=x, starts=starts), **strides(x=x), **of_y, "columns": columns}
    constants = {"LAST": kind == "last", "BLOCK": _BLOCK}
    blocks = 1 << (cdiv(columns, 64) - 1).bit_length()
    finished = {**of_y, "counters": context.counters}
    whole = {"NORMALIZE": normalize, "COLUMNS": columns, "BLOCKS": blocks}
    return [
        Launch(pool_rows, (cdiv(columns, _BLOCK), sequences), arguments, constants),
        Launch(finish_rows, (sequences,), finished, whole, min(16, max(1, blocks // 8))),
    ]
