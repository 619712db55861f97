"""linear_int8 for few rows: one int8 product over both digits, bound by the weights' bytes.

A tensor core multiplies at least 8 rows at a time anyway, so both digits of up to 8 rows ride in the tile that one row
pays for: outliers cost nothing, and there is no branch on them. The weights are the left operand (swap-AB): a row of
them is a row of the tile, so that on sm_90 wgmma takes them from shared memory without touching registers.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from .epilogue import arrives_last, column_factors, store_outputs, sum_of_splits


@triton.jit
def prefetch_l2(pointers):
    """Asks for the 128-byte lines at `pointers`, and does not wait. Not in the interpreter."""
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [pointers], dtype=tl.int32, is_pure=False, pack=1
    )


# One row, or one output, is no constant worth a compilation of its own.
@triton.jit(do_not_specialize=["capacity", "outputs"])
def decode(
    low,
    high,
    step,
    weight,
    scale,
    bias,
    y,
    rows,
    partial,
    tickets,
    low_stride,
    high_stride,
    weight_stride,
    y_stride,
    capacity,
    outputs,
    columns,
    chunk,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
    EVEN: tl.constexpr,
    DEPENDENT: tl.constexpr,
    PREFETCH: tl.constexpr,
):
    """y[BLOCK_M rows, BLOCK_N outputs] of program (tile of outputs, split of K, tile of rows).

    columns: where K ends in memory, `chunk` of them to a split (a multiple of BLOCK_K). EVEN: BLOCK_K divides all
    chunks. PREFETCH: bytes of each weight row to ask for before the kernel before has ended. partial, tickets: see
    arrives_last.
    """
    tile, split, row_tile = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    n = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    # Rows and outputs that do not exist are computed from ones that do and not stored: cheaper than masks.
    weights = weight + tl.minimum(n, outputs - 1).to(tl.int64)[:, None] * weight_stride
    begin = split * chunk
    if DEPENDENT:
        gdc_launch_dependents()
        if PREFETCH > 0:
            ahead = tl.minimum(begin + tl.arange(0, PREFETCH // 128) * 128, columns - 1)
            prefetch_l2(weights + ahead[None, :])
        gdc_wait()
    count = tl.load(rows)
    if row_tile * BLOCK_M < count:
        # Digit 2m is the low one of row m, 2m + 1 the high one: a thread holds both sums of a row side by side.
        digit = tl.arange(0, 2 * BLOCK_M)
        source = tl.minimum(row_tile * BLOCK_M + digit // 2, capacity - 1).to(tl.int64)
        digits = tl.where(digit % 2 == 0, low + source * low_stride, high + source * high_stride)
        k = begin + tl.arange(0, BLOCK_K)
        digit_pointers = digits[:, None] + k[None, :]
        weight_pointers = weights + k[None, :]
        sums = tl.full((BLOCK_N, 2 * BLOCK_M), 0, tl.int32)
        for start in tl.range(begin, tl.minimum(begin + chunk, columns), BLOCK_K):
            if EVEN:
                w = tl.load(weight_pointers)
                d = tl.load(digit_pointers)
            else:
                inside = (start + tl.arange(0, BLOCK_K) < columns)[None, :]
                w = tl.load(weight_pointers, mask=inside, other=0)
                d = tl.load(digit_pointers, mask=inside, other=0)
            sums = tl.dot(w, d.T, sums, out_dtype=tl.int32)
            weight_pointers += BLOCK_K
            digit_pointers += BLOCK_K
        low_sums, high_sums = tl.split(tl.reshape(sums, (BLOCK_N, BLOCK_M, 2)))
        total = low_sums + 255 * high_sums

        m = (row_tile * BLOCK_M + tl.arange(0, BLOCK_M))[None, :]
        if SPLITS == 1:
            factor = column_factors(scale, n, outputs)[:, None]
            store_outputs(total, m, n[:, None], factor, count, step, bias, y, y_stride, outputs)
        else:
            index = row_tile * tl.num_programs(0) + tile
            if arrives_last(total, partial, tickets + index, index, split, SPLITS):
                STRIP: tl.constexpr = min(BLOCK_N, 4096 // BLOCK_M)
                for first in tl.range(0, BLOCK_N, STRIP):
                    part = sum_of_splits(partial, index, first, SPLITS, STRIP, BLOCK_N, BLOCK_M)
                    strip = tile * BLOCK_N + first + tl.arange(0, STRIP)
                    factors = column_factors(scale, strip, outputs)[:, None]
                    store_outputs(part, m, strip[:, None], factors, count, step, bias, y, y_stride, outputs)
