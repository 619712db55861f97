"""dequantize: int32 sums of products of digits and codes to numbers."""

# pyright: basic, reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false

from __future__ import annotations

import triton
import triton.language as tl

from ...launch import Context, Launch, Operand, strides, tensors
from ..elementwise import by_blocks
from .epilogue import dequantized


@triton.jit
def dequantize_rows(sums, step, scale, bias, y, rows, sums_stride, y_stride, columns, BLOCK: tl.constexpr):
    """One program per row and block of columns."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = n < columns
        total = tl.load(sums + t * sums_stride + n, mask=inside, other=0)
        factor = tl.div_rn(tl.load(scale + n, mask=inside, other=0.0), tl.full((BLOCK,), 127.0, tl.float32))
        tl.store(y + t * y_stride + n, dequantized(total, tl.load(step + t), factor, bias, n, inside), mask=inside)


def dequantize(
    context: Context, *, sums: Operand, step: Operand, scale: Operand, y: Operand, bias: Operand | None = None
) -> list[Launch]:
    """sums int32 [T, N] -> y float32 [T, N]; step float32 [T], scale and bias float32 [N]."""
    arguments = {**tensors(sums=sums, step=step, scale=scale, bias=bias), **strides(sums=sums)}
    return by_blocks(dequantize_rows, y, arguments)
