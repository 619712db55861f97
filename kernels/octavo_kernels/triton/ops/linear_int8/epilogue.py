"""What follows the products in every regime of linear_int8: sums over splits of K, and dequantisation."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def arrives_last(total, partial, ticket, tile, split, SPLITS: tl.constexpr):
    """Writes this split's sums to its slab; whether the other splits of the tile have all done so.

    partial: int32 [tiles, SPLITS, shape of total]. ticket: the tile's own; the last split leaves it zero, so that a
    captured graph can run again. Which one is last does not show: integers are added.
    """
    slab = partial + (tile.to(tl.int64) * SPLITS + split) * (total.shape[0] * total.shape[1])
    tl.store(slab + _places(total.shape[0], total.shape[1]), total)
    last = tl.atomic_add(ticket, 1, sem="acq_rel", scope="gpu") == SPLITS - 1
    if last:
        tl.store(ticket, 0)
    return last


@triton.jit
def sum_of_splits(
    partial, tile, first, SPLITS: tl.constexpr, STRIP: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr
):
    """[STRIP, WIDTH]: the sums of all slabs [HEIGHT, WIDTH] of a tile, STRIP rows of it from `first` on.

    From L2, where the others wrote: this SM's L1 may hold what a slab held before. A strip, as whole tiles in flight
    would take more registers than there are.
    """
    places = partial + tile.to(tl.int64) * SPLITS * (HEIGHT * WIDTH) + first * WIDTH + _places(STRIP, WIDTH)
    total = tl.load(places, cache_modifier=".cg")
    for split in tl.range(1, SPLITS, loop_unroll_factor=4):
        total += tl.load(places + split * (HEIGHT * WIDTH), cache_modifier=".cg")
    return total


@triton.jit
def _places(HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    return tl.arange(0, HEIGHT)[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]


@triton.jit
def column_factors(scale, n, outputs):
    """scale / 127 of the columns n; of no use without a scale.

    The sum of a quotient and a zero fixes the layout in which it is divided: each thread once. Otherwise the compiler
    lets every thread divide for all columns of its part of the tile, which takes 100 registers, to save an exchange.
    """
    if scale is None:
        return n
    else:
        pair = tl.arange(0, 2)[None, :]
        value = tl.load(scale + n[:, None] + 0 * pair, mask=(n < outputs)[:, None] & (pair == 0), other=0.0)
        return tl.sum(tl.div_rn(value, tl.full(value.shape, 127.0, tl.float32)), axis=1)


@triton.jit
def store_outputs(total, m, n, factor, count, step, bias, y, y_stride, outputs):
    """y[m, n] = float(total) * step[m], times factor, plus bias[n]; without a step the sums themselves.

    m, n: int32, of shapes that broadcast to total's; m from `count` and n from `outputs` on are not stored. Compile
    without fusing (`enable_fp_fusion`).
    """
    if step is None:
        result = total
    else:
        result = dequantized(total, tl.load(step + m, mask=m < count, other=0.0), factor, bias, n, n < outputs)
    tl.store(y + m.to(tl.int64) * y_stride + n, result, mask=(m < count) & (n < outputs))


@triton.jit
def dequantized(total, step, factor, bias, n, inside):
    """float(total) * step, times factor, plus bias[n] (one fma; None: nothing is added)."""
    result = total.to(tl.float32) * step
    if bias is None:
        return result * factor
    else:
        addend = tl.load(bias + n, mask=inside, other=0.0)
        return tl.fma(result, tl.broadcast_to(factor, result.shape), tl.broadcast_to(addend, result.shape))
