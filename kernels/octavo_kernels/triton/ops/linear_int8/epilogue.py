"""From integer sums to outputs: the one formula of every regime of linear_int8."""

# pyright: basic, reportIndexIssue=false
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def dequantized(total, step, scale, bias):
    """float(total) * step, times scale / 127, plus bias (one fma; None: nothing is added). Shapes broadcast.

    step: float32, the rows' steps. scale, bias: float32, the columns'. Compile without fusing (`enable_fp_fusion`).
    """
    product = total.to(tl.float32) * step
    column = tl.div_rn(scale, tl.full(scale.shape, 127.0, tl.float32))
    if bias is None:
        return product * column
    else:
        return tl.fma(product, tl.broadcast_to(column, product.shape), tl.broadcast_to(bias, product.shape))
