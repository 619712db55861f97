"""quantize and the ops that are fused with it: one launch each.

Kernels are specialised for K. Worth compiling, as each shape of tile and each way through a kernel occurs: K = 64, 576,
4096, 8192, 14336, 16384 (held in registers), 28672 and 57344 (streamed); norm rms and layer with bias; glu with silu
(held to 16384) and gelu_tanh (held to 8192).
"""

from __future__ import annotations

from typing import Any

import torch

from ....generated.workspace import SCRATCH_ROWS
from ...launch import Context, Launch, Operand, strides, tensors
from ..dependent import dependent
from ..row import single, tiling
from .kernels import quantize_held, quantize_streamed


def quantize(context: Context, *, x: Operand, low: Operand, **operands: Any) -> list[Launch]:
    """x [T, K] float32 -> low, high int8 [T, pad64(K)], carries int32 [T, carryWords(K)], step float32 [T]."""
    return _launch(context, a=x, low=low, **operands)


def norm_quantize(context: Context, *, x: Operand, kind: str, **operands: Any) -> list[Launch]:
    """quantize(norm(x))."""
    return _launch(context, a=x, norm=kind, **operands)


def add_norm_quantize(context: Context, *, a: Operand, b: Operand, kind: str, **operands: Any) -> list[Launch]:
    """y = a + b; quantize(norm(y))."""
    return _launch(context, source="add", a=a, b=b, norm=kind, **operands)


def glu_quantize(context: Context, *, gate: Operand, up: Operand, **operands: Any) -> list[Launch]:
    """quantize(glu(gate, up))."""
    return _launch(context, source="glu", a=gate, b=up, **operands)


def _launch(
    context: Context,
    *,
    a: Operand,
    low: Operand,
    high: Operand,
    carries: Operand,
    step: Operand,
    decompose: str,
    absolute: float,
    relative: float,
    source: str = "plain",
    b: Operand | None = None,
    activation: str = "",
    norm: str = "none",
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 0.0,
    unitOffset: bool = False,
    y: Operand | None = None,
) -> list[Launch]:
    count, columns = a.shape
    cut = tiling(columns, short=activation in ("gelu", "gelu_tanh"))
    arguments = tensors(a=a, b=b, weight=weight, bias=bias, y=y, low=low, high=high, carries=carries, step=step)
    arguments |= strides(a=a, b=b, y=y, low=low, high=high, carries=carries)
    arguments |= {"counters": context.counters, "rows": a.rows}
    arguments |= {"eps": single(eps), "absolute": single(absolute), "relative": single(relative)}
    constants = {"INPUT": source, "ACTIVATION": activation, "NORM": norm, "UNIT_OFFSET": unitOffset}
    constants |= {"DECOMPOSE": decompose, "COLUMNS": columns, "BLOCKS": cut.blocks, "DEPENDENT": dependent(context)}
    if cut.chunks == 1:
        return [Launch(quantize_held, (count,), arguments, constants, cut.warps, dependent=dependent(context))]
    programs, scratch = count, None
    if source != "plain" or norm != "none":
        programs = min(count, context.processors, SCRATCH_ROWS)
        scratch = context.scratch(torch.float32, programs, columns)
    streamed = {**arguments, "scratch": scratch, "scratch_stride": columns, "chunks": cut.chunks}
    constants["ROOTS"] = cut.roots
    return [Launch(quantize_streamed, (programs,), streamed, constants, cut.warps, dependent=dependent(context))]
