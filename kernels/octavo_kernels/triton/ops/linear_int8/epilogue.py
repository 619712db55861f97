"""What follows the products in every regime of linear_int8: sums over splits of K, and dequantisation."""

# pyright: basic, reportIndexIssue=false
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def arrives_last(total, slab, stored, split, slab_size, ticket, SPLITS: tl.constexpr):
    """Writes this split's sums to its slab; whether the other splits of the tile have all done so.

    The last one leaves the ticket zero, so that a captured graph can run again. Which one is last does not show:
    integers are added.
    """
    tl.store(slab + split * slab_size, total, mask=stored)
    last = tl.atomic_add(ticket, 1, sem="acq_rel", scope="gpu") == SPLITS - 1
    if last:
        tl.store(ticket, 0)
    return last


@triton.jit
def sum_of_splits(slab, stored, slab_size, SPLITS: tl.constexpr):
    """The sums of all slabs. From L2, where the others wrote: this SM's L1 may hold what a slab held before."""
    total = tl.load(slab, mask=stored, other=0, cache_modifier=".cg")
    for split in tl.static_range(1, SPLITS):
        total += tl.load(slab + split * slab_size, mask=stored, other=0, cache_modifier=".cg")
    return total


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
