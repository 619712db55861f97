"""activate and glu."""

from __future__ import annotations

import triton
import triton.language as tl

from .. import numbers
from ..launch import Context, Launch, Operand, strides, tensors
from .elementwise import by_blocks


@triton.jit
def activate_rows(x, y, rows, x_stride, y_stride, columns, ACTIVATION: tl.constexpr, BLOCK: tl.constexpr):
    """One program per row and block of columns."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = k < columns
        row = tl.load(x + t * x_stride + k, mask=inside, other=0.0)
        tl.store(y + t * y_stride + k, numbers.activation_of(row, ACTIVATION), mask=inside)


@triton.jit
def glu_rows(
    gate, up, y, rows, gate_stride, up_stride, y_stride, columns, ACTIVATION: tl.constexpr, BLOCK: tl.constexpr
):
    """One program per row and block of columns."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = k < columns
        left = tl.load(gate + t * gate_stride + k, mask=inside, other=0.0)
        right = tl.load(up + t * up_stride + k, mask=inside, other=0.0)
        tl.store(y + t * y_stride + k, numbers.activation_of(left, ACTIVATION) * right, mask=inside)


def activate(context: Context, *, x: Operand, y: Operand, activation: str) -> list[Launch]:
    """y = activation(x), [T, K] float32."""
    return by_blocks(activate_rows, y, {**tensors(x=x), **strides(x=x)}, {"ACTIVATION": activation})


def glu(context: Context, *, gate: Operand, up: Operand, y: Operand, activation: str) -> list[Launch]:
    """y = activation(gate) * up, [T, K] float32."""
    arguments = {**tensors(gate=gate, up=up), **strides(gate=gate, up=up)}
    return by_blocks(glu_rows, y, arguments, {"ACTIVATION": activation})
