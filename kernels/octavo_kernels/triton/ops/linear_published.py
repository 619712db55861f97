"""linear_published: LLM.int8() as published (arXiv 2208.07339), outlier columns of the call in 16-bit floats.

Three launches, no host: which columns have an outlier in some row; their list, and the rows' codes; the product, which
reads from memory how many columns are listed. The list holds K columns, so that nothing can be too much.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from ..launch import Context, Launch, Operand, cdiv, strides, tensors

_COLUMNS = 256


@triton.jit
def mark_outliers(x, rows, flags, x_stride, columns, threshold, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """flags[k] = 1 where |x[t, k]| >= threshold in some row t, else 0. One program per COLUMNS columns."""
    k = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    count = tl.load(rows)
    found = tl.full((COLUMNS,), 0, tl.int32)
    for start in tl.range(0, count, ROWS):
        t = (start + tl.arange(0, ROWS))[:, None]
        value = tl.load(
            x + t.to(tl.int64) * x_stride + k[None, :], mask=(t < count) & (k < columns)[None, :], other=0.0
        )
        found = tl.maximum(found, tl.max((tl.abs(value) >= threshold).to(tl.int32), axis=0))
    tl.store(flags + k, found, mask=k < columns)


@triton.jit
def prepare(
    x,
    rows,
    flags,
    listed,
    found,
    codes,
    largest,
    x_stride,
    codes_stride,
    columns,
    threshold,
    CHUNKS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The first CHUNKS programs list the outlier columns of COLUMNS each, the others quantize a row each."""
    program = tl.program_id(0)
    if program < CHUNKS:
        _list_columns(flags, listed, found, columns, program, CHUNKS, COLUMNS)
    elif program - CHUNKS < tl.load(rows):
        t = (program - CHUNKS).to(tl.int64)
        _quantize_inliers(x + t * x_stride, flags, codes + t * codes_stride, largest + t, columns, threshold, COLUMNS)


@triton.jit
def _list_columns(flags, listed, found, columns, chunk, CHUNKS: tl.constexpr, COLUMNS: tl.constexpr):
    before = tl.full((), 0, tl.int32)
    for start in tl.range(0, chunk * COLUMNS, COLUMNS):
        before += tl.sum(tl.load(flags + start + tl.arange(0, COLUMNS)), axis=0)
    k = chunk * COLUMNS + tl.arange(0, COLUMNS)
    flag = tl.load(flags + k, mask=k < columns, other=0)
    tl.store(listed + before + tl.cumsum(flag, 0) - flag, k, mask=flag > 0)
    if chunk == CHUNKS - 1:
        tl.store(found, before + tl.sum(flag, axis=0))


@triton.jit
def _quantize_inliers(x, flags, codes, largest, columns, threshold, COLUMNS: tl.constexpr):
    """A row's scale is its largest inlier, also where another row takes the column out: bitsandbytes' rule."""
    # Magnitudes as integers, which order as they do, with NaN above all: a GPU's max would drop NaN.
    bits = tl.full((COLUMNS,), 0, tl.int32)
    for start in tl.range(0, columns, COLUMNS):
        k = start + tl.arange(0, COLUMNS)
        magnitude = tl.abs(tl.load(x + k, mask=k < columns, other=0.0))
        bits = tl.maximum(bits, tl.where(magnitude >= threshold, 0, magnitude.to(tl.int32, bitcast=True)))
    top = tl.max(bits, axis=0)
    scale = top.to(tl.float32, bitcast=True)
    tl.store(largest, scale)
    # Rows with NaN or Inf become NaN by their scale; they have no codes. 0x7F800000 is Inf.
    usable = (top > 0) & (top < 0x7F800000)
    divisor = tl.full((COLUMNS,), 1.0, tl.float32) * tl.where(usable, scale, 1.0)
    factor = tl.div_rn(tl.full((COLUMNS,), 127.0, tl.float32), divisor)
    for start in tl.range(0, columns, COLUMNS):
        k = start + tl.arange(0, COLUMNS)
        inlier = (tl.load(flags + k, mask=k < columns, other=1) == 0) & usable
        value = tl.where(inlier, tl.load(x + k, mask=k < columns, other=0.0) * factor, 0.0)
        rounded = (value + 12582912.0) - 12582912.0
        tl.store(codes + k, rounded.to(tl.int8), mask=k < columns)


@triton.jit
def published_product(
    x,
    codes,
    largest,
    listed,
    found,
    weight,
    scale,
    bias,
    y,
    rows,
    x_stride,
    codes_stride,
    weight_stride,
    y_stride,
    outputs,
    columns,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    OUTLIERS: tl.constexpr,
):
    """y[BLOCK_M rows, BLOCK_N outputs] of program (tile of outputs, tile of rows); OUTLIERS listed columns at once."""
    m, n = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M), tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    count = tl.load(rows)
    if tl.program_id(1) * BLOCK_M < count:
        row = tl.where(m < count, m, 0).to(tl.int64)[:, None]
        weights = weight + tl.minimum(n, outputs - 1).to(tl.int64)[:, None] * weight_stride
        sums = tl.full((BLOCK_M, BLOCK_N), 0, tl.int32)
        k = tl.arange(0, BLOCK_K)[None, :]
        for start in tl.range(0, columns, BLOCK_K):
            inside = start + k < columns
            q = tl.load(codes + row * codes_stride + start + k, mask=inside, other=0)
            w = tl.load(weights + start + k, mask=inside, other=0)
            sums = tl.dot(q, w.T, sums, out_dtype=tl.int32)

        s = tl.load(scale + n, mask=n < outputs, other=0.0)
        dequantize = tl.div_rn(s, tl.full((BLOCK_N,), 127.0, tl.float32))[:, None]
        # One fma chain per output over the listed columns, which ascend.
        chain = tl.full((BLOCK_M, BLOCK_N), 0.0, tl.float32)
        outliers = tl.load(found)
        for start in tl.range(0, outliers, OUTLIERS):
            entry = start + tl.arange(0, OUTLIERS)
            present = (entry < outliers)[None, :]
            column = tl.load(listed + entry, mask=entry < outliers, other=0)[None, :]
            a = tl.load(x + row * x_stride + column, mask=present, other=0.0).to(tl.float16).to(tl.float32)
            w = (tl.load(weights + column, mask=present, other=0).to(tl.float32) * dequantize).to(tl.float16)
            # Nothing times anything, so that an infinite weight cannot make a NaN where no column is.
            w = tl.where(present, w.to(tl.float32), 0.0)
            chain = tl.dot(a, w.T, chain, input_precision="ieee")

        inliers = sums.to(tl.float32) * tl.load(largest + row)
        result = inliers * tl.div_rn(s, tl.full((BLOCK_N,), 16129.0, tl.float32))[None, :] + chain
        if bias is not None:
            result = result + tl.load(bias + n, mask=n < outputs, other=0.0)[None, :]
        stored = (m < count)[:, None] & (n < outputs)[None, :]
        tl.store(y + row * y_stride + n[None, :], result, mask=stored)


def linear_published(
    context: Context,
    *,
    x: Operand,
    weight: Operand,
    scale: Operand,
    y: Operand,
    bias: Operand | None = None,
    threshold: float,
) -> list[Launch]:
    """x float32 [T, K] times weight int8 [N, K] -> y float32 [T, N]; scale and bias float32 [N]."""
    rows, columns = x.shape
    outputs = y.shape[1]
    if rows == 0 or outputs == 0:
        return []
    chunks, pitch = cdiv(columns, _COLUMNS), cdiv(columns, 64) * 64
    shared = {"x": x.tensor, "rows": y.rows, "x_stride": x.stride, "columns": columns}
    flags = {"flags": context.scratch(torch.int32, columns)}
    lists = {"listed": context.scratch(torch.int32, columns), "found": context.scratch(torch.int32, 1)}
    codes = {"codes": context.scratch(torch.int8, rows, pitch), "codes_stride": pitch}
    codes["largest"] = context.scratch(torch.float32, rows)
    # Nothing is as large as NaN.
    limit = float(threshold) if threshold > 0 else math.nan
    # A dot takes at least 16 rows of float32; more rows than 32 would not leave registers for the chain.
    block_m = 16 if rows <= 16 else 32
    product = {**tensors(weight=weight, scale=scale, bias=bias, y=y), **strides(weight=weight, y=y), "outputs": outputs}
    marked = {**shared, **flags, "threshold": limit}
    tile, grid = {"BLOCK_M": block_m, "BLOCK_N": 64, "BLOCK_K": 128}, (cdiv(outputs, 64), cdiv(rows, block_m))
    product |= {**shared, **lists, **codes}
    return [
        Launch(mark_outliers, (chunks,), marked, {"ROWS": 8, "COLUMNS": _COLUMNS}),
        Launch(prepare, (chunks + rows,), {**marked, **lists, **codes}, {"CHUNKS": chunks, "COLUMNS": _COLUMNS}),
        Launch(published_product, grid, product, {**tile, "OUTLIERS": 16}, warps=4, stages=3),
    ]
