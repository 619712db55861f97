"""linear_scheme: a linear by one of the paper's int8 schemes. For evaluations: simple, and not made for speed.

The outlier columns, ranges of what shares a scale, codes, the product. Weights are quantised at each call.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ...program.shapes import pad64
from ..launch import Context, Launch, Operand, cdiv, strides, tensors
from ..numbers import NOT_FINITE, magnitude_bits, rint_to_int

_ROWS, _COLUMNS, _LISTED = 16, 128, 1024
_TILE_ROWS, _TILE_OUTPUTS, _TILE_COLUMNS = 32, 32, 64


@triton.jit
def mark_outlier_columns(x, outlier, rows, x_stride, columns, threshold, BLOCK_R: tl.constexpr, BLOCK_K: tl.constexpr):
    """outlier[k] = 1 where |x| >= threshold in some row."""
    k = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    count = tl.load(rows)
    found = tl.zeros((BLOCK_K,), tl.int32)
    for start in tl.range(0, count, BLOCK_R):
        m = start + tl.arange(0, BLOCK_R)
        inside = (m < count)[:, None] & (k < columns)[None, :]
        numbers = tl.load(x + m.to(tl.int64)[:, None] * x_stride + k[None, :], mask=inside, other=0.0)
        found |= tl.max((inside & (tl.abs(numbers) >= threshold)).to(tl.int32), axis=0)
    tl.store(outlier + k, found, mask=k < columns)


@triton.jit
def list_outlier_columns(outlier, listed, columns, BLOCK_K: tl.constexpr):
    """One program: how many outlier columns there are, then their indices ascending."""
    before = 0
    for start in tl.range(0, columns, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        found = tl.load(outlier + k, mask=k < columns, other=0)
        tl.store(listed + before + tl.cumsum(found, axis=0), k, mask=found != 0)
        before += tl.sum(found, axis=0)
    tl.store(listed, before)


@triton.jit
def row_ranges(
    numbers,
    low,
    high,
    rows,
    stride,
    outputs,
    columns,
    threshold,
    BELOW: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Smallest and largest number of each row, 0 included; `BELOW`: of those with |x| < threshold. low is NaN where
    one is NaN or Inf. `rows`: how many there are, None for `outputs`."""
    count = outputs if rows is None else tl.load(rows)
    m = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    smallest = tl.zeros((BLOCK_R,), tl.float32)
    largest = tl.zeros((BLOCK_R,), tl.float32)
    bits = tl.zeros((BLOCK_R,), tl.int32)
    for start in tl.range(0, columns, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        inside = (m < count)[:, None] & (k < columns)[None, :]
        v = tl.load(numbers + m.to(tl.int64)[:, None] * stride + k[None, :], mask=inside, other=0.0).to(tl.float32)
        if BELOW:
            v = tl.where(tl.abs(v) >= threshold, 0.0, v)
        magnitude = magnitude_bits(v)
        bits = tl.maximum(bits, tl.max(magnitude, axis=1))
        finite = tl.where(magnitude < NOT_FINITE, v, 0.0)
        smallest = tl.minimum(smallest, tl.min(finite, axis=1))
        largest = tl.maximum(largest, tl.max(finite, axis=1))
    tl.store(low + m, tl.where(bits < NOT_FINITE, smallest, float("nan")), mask=m < count)
    tl.store(high + m, largest, mask=m < count)


@triton.jit
def quantize_rows(
    numbers,
    outlier,
    low,
    high,
    codes,
    zeros,
    units,
    sums,
    rows,
    stride,
    outputs,
    columns,
    padded,
    WHOLE: tl.constexpr,
    ZEROPOINT: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Codes [rows, padded], and of each row its zero, unit and sum of codes. `WHOLE`: one scale for all rows."""
    count = outputs if rows is None else tl.load(rows)
    m = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    if tl.program_id(0) * BLOCK_R < count:
        if WHOLE:
            smallest = tl.zeros((BLOCK_R,), tl.float32)
            largest = tl.zeros((BLOCK_R,), tl.float32)
            bad = tl.zeros((BLOCK_R,), tl.int32)
            for start in tl.range(0, count, BLOCK_K):
                n = start + tl.arange(0, BLOCK_K)
                lows = tl.load(low + n, mask=n < count, other=0.0)
                bad = tl.maximum(bad, tl.max((lows != lows).to(tl.int32), axis=0))
                smallest = tl.minimum(smallest, tl.min(tl.where(lows == lows, lows, 0.0), axis=0))
                largest = tl.maximum(largest, tl.max(tl.load(high + n, mask=n < count, other=0.0), axis=0))
        else:
            smallest = tl.load(low + m, mask=m < count, other=0.0)
            largest = tl.load(high + m, mask=m < count, other=0.0)
            bad = (smallest != smallest).to(tl.int32)
            smallest = tl.where(bad == 0, smallest, 0.0)
        below, above = tl.abs(smallest), tl.abs(largest)
        unit = below + above if ZEROPOINT else tl.maximum(below, above)
        finite = (bad == 0) & (magnitude_bits(unit) < NOT_FINITE)
        levels = 254.0 if ZEROPOINT else 127.0
        factor = tl.minimum(tl.div_rn(tl.full((BLOCK_R,), levels, tl.float32), tl.where(finite, unit, 1.0)), 2.0**126)
        zero = tl.where(finite & ZEROPOINT, rint_to_int(-below * factor) + 127, 0)
        total = tl.zeros((BLOCK_R,), tl.int32)
        for start in tl.range(0, padded, BLOCK_K):
            k = start + tl.arange(0, BLOCK_K)
            inside = (m < count)[:, None] & (k < columns)[None, :]
            v = tl.load(numbers + m.to(tl.int64)[:, None] * stride + k[None, :], mask=inside, other=0.0).to(tl.float32)
            if outlier is not None:
                taken = tl.load(outlier + k, mask=k < columns, other=0)
                v = tl.where((taken != 0)[None, :], 0.0, v)
            v = tl.where(finite[:, None], v, 0.0)
            code = tl.minimum(tl.maximum(rint_to_int(v * factor[:, None]) - zero[:, None], -127), 127)
            code = tl.where(inside, code, 0)
            total += tl.sum(code, axis=1)
            stored = (m < count)[:, None] & (k < padded)[None, :]
            tl.store(codes + m.to(tl.int64)[:, None] * padded + k[None, :], code.to(tl.int8), mask=stored)
        tl.store(zeros + m, zero, mask=m < count)
        tl.store(units + m, tl.where(finite, unit, float("nan")), mask=m < count)
        tl.store(sums + m, total, mask=m < count)


@triton.jit
def scheme_product(
    x,
    listed,
    row_codes,
    row_zeros,
    row_units,
    row_sums,
    codes,
    zeros,
    units,
    sums,
    bias,
    y,
    rows,
    x_stride,
    y_stride,
    outputs,
    columns,
    padded,
    ZEROPOINT: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """y[BLOCK_M rows, BLOCK_N outputs] of program (tile of outputs, tile of rows)."""
    levels = 254.0 if ZEROPOINT else 127.0
    count = tl.load(rows)
    m = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    if tl.program_id(1) * BLOCK_M < count:
        real_m, real_n = m < count, n < outputs
        offsets = tl.arange(0, BLOCK_K)
        left = row_codes + m.to(tl.int64)[:, None] * padded + offsets[None, :]
        right = codes + n.to(tl.int64)[:, None] * padded + offsets[None, :]
        accumulator = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
        for start in tl.range(0, padded, BLOCK_K):
            q = tl.load(left + start, mask=real_m[:, None], other=0)
            c = tl.load(right + start, mask=real_n[:, None], other=0)
            accumulator = tl.dot(q, c.T, accumulator, out_dtype=tl.int32)
        unit = tl.load(units + n, mask=real_n, other=0.0)
        zero = tl.load(zeros + n, mask=real_n, other=0)
        row_zero = tl.load(row_zeros + m, mask=real_m, other=0).to(tl.int64)
        row_sum = tl.load(row_sums + m, mask=real_m, other=0).to(tl.int64)
        by_row = row_sum + row_zero * columns
        by_output = tl.load(sums + n, mask=real_n, other=0).to(tl.int64)
        shifted = by_row[:, None] * zero.to(tl.int64)[None, :] + row_zero[:, None] * by_output[None, :]
        total = (accumulator.to(tl.int64) + shifted).to(tl.float32)

        # One column after the other and not as a dot, which sm_100 would give to its tensor cores.
        chain = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        if listed is not None:
            w_unit = tl.div_rn(unit, tl.full((BLOCK_N,), levels, tl.float32))
            for j in tl.range(0, tl.load(listed)):
                k = tl.load(listed + 1 + j)
                numbers = tl.load(x + m.to(tl.int64) * x_stride + k, mask=real_m, other=0.0)
                c = tl.load(codes + n.to(tl.int64) * padded + k, mask=real_n, other=0).to(tl.int32) + zero
                w = (c.to(tl.float32) * w_unit).to(tl.float16).to(tl.float32)
                chain = tl.fma(numbers.to(tl.float16).to(tl.float32)[:, None], w[None, :], chain)
        row_unit = tl.load(row_units + m, mask=real_m, other=0.0)
        output_unit = tl.div_rn(unit, tl.full((BLOCK_N,), levels * levels, tl.float32))
        value = (total * row_unit[:, None]) * output_unit[None, :] + chain
        if bias is not None:
            value += tl.load(bias + n, mask=real_n, other=0.0)[None, :]
        stored = real_m[:, None] & real_n[None, :]
        tl.store(y + m.to(tl.int64)[:, None] * y_stride + n[None, :], value, mask=stored)


def linear_scheme(
    context: Context,
    *,
    x: Operand,
    weight: Operand,
    y: Operand,
    codes: str,
    scope: str,
    threshold: float,
    bias: Operand | None = None,
) -> list[Launch]:
    """x float32 [T, K], weight [N, K] of any float dtype -> y float32 [T, N]: ranges and codes of both, the product."""
    rows, outputs = y.shape
    if rows == 0 or outputs == 0:
        return []
    columns = x.shape[1]
    padded, zeropoint = pad64(columns), codes == "zeropoint"
    outlier = context.scratch(torch.int32, columns) if threshold > 0 else None
    listed = context.scratch(torch.int32, 1 + columns) if threshold > 0 else None
    block = {"BLOCK_R": _ROWS, "BLOCK_K": _COLUMNS}
    launches = []
    if outlier is not None:
        given = {"x": x.tensor, "outlier": outlier, "rows": x.rows, "x_stride": x.stride, "columns": columns}
        grid = (cdiv(columns, _COLUMNS),)
        launches.append(Launch(mark_outlier_columns, grid, {**given, "threshold": threshold}, block))
        given = {"outlier": outlier, "listed": listed, "columns": columns}
        launches.append(Launch(list_outlier_columns, (1,), given, {"BLOCK_K": _LISTED}))

    def quantized(operand: Operand, count: int, device_count: torch.Tensor | None, taken, whole: bool) -> dict:
        low, high, unit = (context.scratch(torch.float32, count) for _ in range(3))
        zero, total = (context.scratch(torch.int32, count) for _ in range(2))
        made = context.scratch(torch.int8, count, padded)
        shared = {"numbers": operand.tensor, "low": low, "high": high, "rows": device_count, "stride": operand.stride}
        shared |= {"outputs": count, "columns": columns}
        grid = (cdiv(count, _ROWS),)
        below = {"BELOW": taken is not None, **block}
        launches.append(Launch(row_ranges, grid, {**shared, "threshold": threshold}, below))
        results = {"codes": made, "zeros": zero, "units": unit, "sums": total}
        kinds = {"WHOLE": whole, "ZEROPOINT": zeropoint, **block}
        launches.append(Launch(quantize_rows, grid, {**shared, **results, "outlier": taken, "padded": padded}, kinds))
        return results

    left = quantized(x, rows, x.rows, outlier, scope == "tensor")
    right = quantized(weight, outputs, None, None, scope != "vector")
    arguments = {**tensors(x=x, bias=bias, y=y), **strides(x=x, y=y), "rows": y.rows, "listed": listed, **right}
    arguments |= {f"row_{name}": made for name, made in left.items()}
    arguments |= {"outputs": outputs, "columns": columns, "padded": padded}
    constants = {"ZEROPOINT": zeropoint, "BLOCK_M": _TILE_ROWS, "BLOCK_N": _TILE_OUTPUTS, "BLOCK_K": _TILE_COLUMNS}
    grid = (cdiv(outputs, _TILE_OUTPUTS), cdiv(rows, _TILE_ROWS))
    launches.append(Launch(scheme_product, grid, arguments, constants))
    return launches
