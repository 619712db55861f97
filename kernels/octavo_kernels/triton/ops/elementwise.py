"""add, rows, embed, cast: moving rows and adding them."""

from __future__ import annotations

import triton
import triton.language as tl

from ..launch import Context, Launch, Operand, cdiv

_BLOCK = 1024


@triton.jit
def add_rows(a, b, y, rows, a_stride, b_stride, y_stride, columns, BLOCK: tl.constexpr):
    """One program per row and block of columns."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = k < columns
        total = tl.load(a + t * a_stride + k, mask=inside) + tl.load(b + t * b_stride + k, mask=inside)
        tl.store(y + t * y_stride + k, total, mask=inside)


def add(context: Context, *, a: Operand, b: Operand, y: Operand) -> list[Launch]:
    """y = a + b, [T, K] float32."""
    rows, columns = y.shape
    arguments = {
        **{"a": a.tensor, "b": b.tensor, "y": y.tensor, "rows": y.rows},
        **{"a_stride": a.stride, "b_stride": b.stride, "y_stride": y.stride, "columns": columns},
    }
    return [Launch(add_rows, (rows, cdiv(columns, _BLOCK)), arguments, {"BLOCK": _BLOCK})]
