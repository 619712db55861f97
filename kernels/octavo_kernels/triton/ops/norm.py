"""norm: RMS and layer normalisation."""

from __future__ import annotations

import triton
import triton.language as tl

from .. import numbers
from ..launch import Context, Launch, Operand, strides, tensors
from .row import load_tile, single, store_tile, tile_columns, tiling, with_root


@triton.jit
def centre(x, k, total, COLUMNS: tl.constexpr):
    """x minus the mean of a row whose sum is `total`; 0 beyond the row."""
    return tl.where(k < COLUMNS, x - tl.div_rn(total, COLUMNS * 1.0), 0.0)


@triton.jit
def inverse_deviation(squares, eps, COLUMNS: tl.constexpr):
    """1 / sqrt(mean square + eps) of a row whose sum of squares is `squares`; NaN if that is infinite, for 1 / infinity
    would make zeros of the row."""
    mean = tl.div_rn(squares, COLUMNS * 1.0)
    mean = tl.where(mean < float("inf"), mean, float("nan"))
    return tl.div_rn(1.0, tl.sqrt_rn(mean + eps))


@triton.jit
def scale_tile(
    x, k, inverse, weight, bias,
    KIND: tl.constexpr, UNIT_OFFSET: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """x * inverse, by weight and bias; 0 beyond the row."""
    w = load_tile(weight, k, COLUMNS, BLOCKS)
    if UNIT_OFFSET:
        w = w + 1.0
    normalised = x * inverse
    if bias is not None:
        return tl.fma(normalised, w, load_tile(bias, k, COLUMNS, BLOCKS))
    elif KIND == "layer":
        return tl.fma(normalised, w, 0.0)  # not a product: -0 becomes 0
    else:
        return normalised * w


@triton.jit
def norm_held(
    x, weight, bias, y, rows, x_stride, y_stride, eps,
    KIND: tl.constexpr, UNIT_OFFSET: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """One program per row, which it holds in registers."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        k = tile_columns(0, BLOCKS)
        tile = norm_tile(
            load_tile(x + t * x_stride, k, COLUMNS, BLOCKS), k, weight, bias, eps, KIND, UNIT_OFFSET, COLUMNS, BLOCKS
        )
        store_tile(y + t * y_stride, k, tile, COLUMNS, BLOCKS)


@triton.jit
def norm_tile(
    x, k, weight, bias, eps,
    KIND: tl.constexpr, UNIT_OFFSET: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """The norm of a whole row."""
    if KIND == "layer":
        x = centre(x, k, numbers.block_sum(x, BLOCKS), COLUMNS)
    inverse = inverse_deviation(numbers.block_sum_of_squares(x, BLOCKS), eps, COLUMNS)
    return scale_tile(x, k, inverse, weight, bias, KIND, UNIT_OFFSET, COLUMNS, BLOCKS)


@triton.jit
def row_moments(
    row, eps, chunks,
    KIND: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr, ROOTS: tl.constexpr,
):  # fmt: skip
    """(sum, 1 / deviation) of a row that is read chunk by chunk; the sum is 0 for rms, which needs none."""
    total = 0.0
    if KIND == "layer":
        roots = tl.zeros((ROOTS,), tl.float32)
        for chunk in range(chunks):
            x = load_tile(row, tile_columns(chunk * BLOCKS, BLOCKS), COLUMNS, BLOCKS)
            roots = with_root(roots, chunk, numbers.block_sum(x, BLOCKS), ROOTS)
        total = numbers.pair_tree(roots, ROOTS)
    roots = tl.zeros((ROOTS,), tl.float32)
    for chunk in range(chunks):
        k = tile_columns(chunk * BLOCKS, BLOCKS)
        x = load_tile(row, k, COLUMNS, BLOCKS)
        if KIND == "layer":
            x = centre(x, k, total, COLUMNS)
        roots = with_root(roots, chunk, numbers.block_sum_of_squares(x, BLOCKS), ROOTS)
    return total, inverse_deviation(numbers.pair_tree(roots, ROOTS), eps, COLUMNS)


@triton.jit
def norm_chunk(
    row, k, total, inverse, weight, bias,
    KIND: tl.constexpr, UNIT_OFFSET: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """The norm of the columns k of a row with these moments."""
    x = load_tile(row, k, COLUMNS, BLOCKS)
    if KIND == "layer":
        x = centre(x, k, total, COLUMNS)
    return scale_tile(x, k, inverse, weight, bias, KIND, UNIT_OFFSET, COLUMNS, BLOCKS)


@triton.jit
def norm_streamed(
    x, weight, bias, y, rows, x_stride, y_stride, eps, chunks,
    KIND: tl.constexpr, UNIT_OFFSET: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr, ROOTS: tl.constexpr,
):  # fmt: skip
    """One program per row, which it reads chunk by chunk, again for every step."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        row = x + t * x_stride
        total, inverse = row_moments(row, eps, chunks, KIND, COLUMNS, BLOCKS, ROOTS)
        for chunk in range(chunks):
            k = tile_columns(chunk * BLOCKS, BLOCKS)
            tile = norm_chunk(row, k, total, inverse, weight, bias, KIND, UNIT_OFFSET, COLUMNS, BLOCKS)
            store_tile(y + t * y_stride, k, tile, COLUMNS, BLOCKS)


def norm(
    context: Context,
    *,
    x: Operand,
    weight: Operand,
    y: Operand,
    bias: Operand | None = None,
    kind: str,
    eps: float,
    unitOffset: bool,
) -> list[Launch]:
    """y [T, K] float32; weight and bias [K]."""
    count, columns = y.shape
    cut = tiling(columns)
    arguments = {**tensors(x=x, y=y, weight=weight, bias=bias), **strides(x=x, y=y), "rows": y.rows, "eps": single(eps)}
    constants = {"KIND": kind, "UNIT_OFFSET": unitOffset, "COLUMNS": columns, "BLOCKS": cut.blocks}
    if cut.chunks == 1:
        return [Launch(norm_held, (count,), arguments, constants, cut.warps)]
    streamed = {**arguments, "chunks": cut.chunks}
    return [Launch(norm_streamed, (count,), streamed, {**constants, "ROOTS": cut.roots}, cut.warps)]
