"""quantize_weight: int8 codes and the largest magnitude of each row of a weight."""

from __future__ import annotations

import triton
import triton.language as tl

from ... import numbers
from ...launch import Context, Launch, Operand, cdiv, strides, tensors

#: Columns that a program reads at a time.
_BLOCK = 4096


@triton.jit
def quantize_weight_rows(
    weight, codes, scale, rows, weight_stride, codes_stride, COLUMNS: tl.constexpr, BLOCK: tl.constexpr
):
    """One program per row, which it reads twice."""
    n = tl.program_id(0).to(tl.int64)
    if n < tl.load(rows):
        source = weight + n * weight_stride
        most = tl.zeros((BLOCK,), tl.int32)
        for start in range(0, COLUMNS, BLOCK):
            k = start + tl.arange(0, BLOCK)
            w = tl.load(source + k, mask=k < COLUMNS, other=0.0).to(tl.float32)
            most = tl.maximum(most, numbers.magnitude_bits(w))
        largest_bits = tl.max(most, axis=0)
        largest = largest_bits.to(tl.float32, bitcast=True)
        finite = largest_bits < numbers.NOT_FINITE
        usable = finite & (largest_bits > 0)
        # 2^126 keeps the inverse of a row of subnormals finite.
        factor = tl.minimum(tl.div_rn(127.0, largest), 2.0**126)
        for start in range(0, COLUMNS, BLOCK):
            k = start + tl.arange(0, BLOCK)
            w = tl.load(source + k, mask=k < COLUMNS, other=0.0).to(tl.float32)
            code = numbers.rint_to_int(tl.where(usable, w * factor, 0.0))
            code = tl.minimum(tl.maximum(code, -127), 127)
            tl.store(codes + n * codes_stride + k, code.to(tl.int8), mask=k < COLUMNS)
        tl.store(scale + n, tl.where(finite, largest, float("nan")))


def quantize_weight(context: Context, *, weight: Operand, codes: Operand, scale: Operand) -> list[Launch]:
    """weight [N, K] -> codes int8 [N, K] in -127..127, scale float32 [N]. What lies beyond K is left alone."""
    count, columns = weight.shape
    arguments = {**tensors(weight=weight, codes=codes, scale=scale), "rows": weight.rows}
    arguments |= strides(weight=weight, codes=codes)
    block = min(_BLOCK, int(triton.next_power_of_2(max(columns, 16))))
    return [Launch(quantize_weight_rows, (count,), arguments, {"COLUMNS": columns, "BLOCK": block}, cdiv(block, 512))]
