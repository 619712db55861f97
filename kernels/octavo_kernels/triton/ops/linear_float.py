"""linear_float: weights of 16 or 32 bits, one fma chain per output in ascending k. The output layer, mostly."""

from __future__ import annotations

import triton
import triton.language as tl

from ..launch import Context, Launch, Operand, cdiv, strides, tensors


@triton.jit
def float_product(
    x,
    weight,
    bias,
    y,
    rows,
    x_stride,
    weight_stride,
    y_stride,
    outputs,
    columns,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """y[BLOCK_M rows, BLOCK_N outputs] of program (tile of outputs, tile of rows).

    A float32 dot of precision "ieee" is one fma chain per output (FMADotUtility): its order is k's, whatever the tile.
    """
    m = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    count = tl.load(rows)
    if tl.program_id(1) * BLOCK_M < count:
        stored = (m < count)[:, None] & (n < outputs)[None, :]
        if bias is None:
            chain = tl.full((BLOCK_M, BLOCK_N), 0, tl.float32)
        else:
            start = tl.load(bias + n, mask=n < outputs, other=0.0)[None, :]
            chain = tl.broadcast_to(start, (BLOCK_M, BLOCK_N))
        k = tl.arange(0, BLOCK_K)
        x_pointers = x + m.to(tl.int64)[:, None] * x_stride + k[None, :]
        weight_pointers = weight + tl.minimum(n, outputs - 1).to(tl.int64)[:, None] * weight_stride + k[None, :]
        for start in tl.range(0, columns, BLOCK_K):
            inside = start + k < columns
            a = tl.load(x_pointers, mask=(m < count)[:, None] & inside[None, :], other=0.0)
            w = tl.load(weight_pointers, mask=inside[None, :], other=0.0)
            chain = tl.dot(a, w.to(tl.float32).T, chain, input_precision="ieee")
            x_pointers += BLOCK_K
            weight_pointers += BLOCK_K
        tl.store(y + m.to(tl.int64)[:, None] * y_stride + n[None, :], chain, mask=stored)


# Rows, outputs and columns of a tile, warps; most rows first that fit. A thread holds all rows of its outputs, so that
# a weight is converted and read from shared memory once. Counted on sm_90 per warp and 512 bytes of weights, where an
# H100 has time for 141 instructions: 38 at 1 row, 48 at 2, 66 at 4, 98 at 8, 175 at 16 (128 of them the fmas that
# define the result), 328 at 32.
_TILES = ((1, 128, 64, 4), (2, 128, 64, 4), (4, 128, 64, 4), (8, 256, 32, 4), (16, 256, 32, 8), (32, 128, 32, 8))


def linear_float(
    context: Context, *, x: Operand, weight: Operand, y: Operand, bias: Operand | None = None
) -> list[Launch]:
    """x float32 [T, K] times weight [N, K] of float32, float16 or bfloat16 -> y float32 [T, N]; bias float32 [N]."""
    rows, outputs = y.shape
    if rows == 0 or outputs == 0:
        return []
    block_m, block_n, block_k, warps = next((tile for tile in _TILES if rows <= tile[0]), _TILES[-1])
    arguments = {**tensors(x=x, weight=weight, bias=bias, y=y), **strides(x=x, weight=weight, y=y)}
    arguments |= {"rows": y.rows, "outputs": outputs, "columns": x.shape[1]}
    # As many bytes of a row whatever the weights' type.
    constants = {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k * 2 // weight.tensor.itemsize}
    grid = (cdiv(outputs, block_n), cdiv(rows, block_m))
    return [Launch(float_product, grid, arguments, constants, warps=warps, stages=3)]
