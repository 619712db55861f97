"""add, rows, gather, embed, cast: moving rows and adding them."""

from __future__ import annotations

import triton
import triton.language as tl

from ..launch import Context, Launch, Operand, cdiv, strides, tensors
from .dependent import dependent, let_follow

#: Columns of a program. Rows are cut, so that one row, a decode step, occupies several multiprocessors.
BLOCK = 1024


@triton.jit
def add_rows(a, b, y, rows, a_stride, b_stride, y_stride, columns, BLOCK: tl.constexpr):
    """One program per row and block of columns, as all kernels here."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = k < columns
        total = tl.load(a + t * a_stride + k, mask=inside) + tl.load(b + t * b_stride + k, mask=inside)
        tl.store(y + t * y_stride + k, total, mask=inside)


@triton.jit
def take_rows(x, index, y, rows, x_rows, x_stride, y_stride, columns, BLOCK: tl.constexpr):
    """An index that is no row of x is moved to the nearest one: it must not read elsewhere."""
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        source = tl.maximum(tl.minimum(tl.load(index + t), tl.load(x_rows) - 1), 0).to(tl.int64)
        k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = k < columns
        tl.store(y + t * y_stride + k, tl.load(x + source * x_stride + k, mask=inside), mask=inside)


@triton.jit
def embed_rows(
    tokens, table, sampled, y, rows, scale, vocabulary, drawn, table_stride, y_stride, columns,
    DEPENDENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """NaN for an id that is no row of the table. `drawn`: elements of `sampled`.

    A step begins with it: what is before it is a copy, which has ended.
    """
    let_follow(DEPENDENT)
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        token = tl.load(tokens + t)
        if sampled is not None:
            place = tl.maximum(tl.minimum(-1 - token, drawn - 1), 0)
            meant = (token < 0) & (-1 - token < drawn)
            token = tl.where(meant, tl.load(sampled + place, mask=meant, other=0), token)
        source = tl.maximum(tl.minimum(token, vocabulary - 1), 0).to(tl.int64)
        factor = tl.where((token >= 0) & (token < vocabulary), scale, float("nan"))
        k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = k < columns
        row = tl.load(table + source * table_stride + k, mask=inside).to(tl.float32)
        tl.store(y + t * y_stride + k, row * factor, mask=inside)


@triton.jit
def cast_rows(x, y, rows, x_stride, y_stride, columns, BLOCK: tl.constexpr):
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = k < columns
        row = tl.load(x + t * x_stride + k, mask=inside).to(tl.float32)
        tl.store(y + t * y_stride + k, row.to(y.dtype.element_ty), mask=inside)


def add(context: Context, *, a: Operand, b: Operand, y: Operand) -> list[Launch]:
    """y = a + b, [T, K] float32."""
    return by_blocks(add_rows, y, {**tensors(a=a, b=b), **strides(a=a, b=b)})


def rows(context: Context, *, x: Operand, index: Operand, y: Operand) -> list[Launch]:
    """y [S, K] = x[index], float32."""
    return by_blocks(take_rows, y, {**tensors(x=x, index=index), "x_rows": x.rows, **strides(x=x)})


def embed(
    context: Context, *, tokens: Operand, table: Operand, y: Operand, sampled: Operand | None = None, scale: float
) -> list[Launch]:
    """y [T, K] float32 = scale * table[tokens]; the id -1-j is the one in `sampled[j]`."""
    drawn = sampled.shape[0] if sampled is not None else 0
    arguments = {**tensors(tokens=tokens, table=table, sampled=sampled if drawn else None), **strides(table=table)}
    arguments |= {"vocabulary": table.shape[0], "drawn": drawn, "scale": scale}
    return by_blocks(embed_rows, y, arguments, {"DEPENDENT": dependent(context)})


def cast(context: Context, *, x: Operand, y: Operand, dtype: str) -> list[Launch]:
    """To the type of y, nearest even; too large is infinite."""
    return by_blocks(cast_rows, y, {"x": x.tensor, "x_stride": x.stride})


def gather(context: Context, *, x: Operand, y: Operand, columns: int, first: int) -> list[Launch]:
    """Of one rank: a copy. Columns of others come by way of the host (`../meeting.py`)."""
    return cast(context, x=x, y=y, dtype="float32")


def by_blocks(kernel, y: Operand, arguments: dict, constants: dict | None = None) -> list[Launch]:
    """A kernel that computes BLOCK columns of a row of y in each program."""
    count, columns = y.shape
    given = {**arguments, **tensors(y=y), **strides(y=y), "rows": y.rows, "columns": columns}
    return [Launch(kernel, (count, cdiv(columns, BLOCK)), given, {**(constants or {}), "BLOCK": BLOCK})]
