"""rope, append, rope_append: rotary positions and writing the KV pages."""

from __future__ import annotations

import triton
import triton.language as tl

from ...generated.ops import PAGE_SIZE
from ...reference.pages import kv_levels
from ..launch import Context, Launch, Operand, strides, tensors
from .dependent import dependent, follow
from .integers import row_integers

_PAGE = tl.constexpr(PAGE_SIZE)


@triton.jit
def row_of_table(position, table_rows):
    """The position at the address, moved to the nearest row that there is: it must not read elsewhere."""
    return tl.maximum(tl.minimum(tl.load(position), table_rows - 1), 0).to(tl.int64)


@triton.jit
def turn_head(x, place, cos, sin, position, TURNED: tl.constexpr, INTERLEAVED: tl.constexpr, HEAD: tl.constexpr):
    """The head at `x` turned by row `position` of the tables [P, TURNED] -> its elements `place`.

    Every element loads the one it is paired with: elements then come in the order of memory in either pairing.
    """
    turned = place < 2 * TURNED
    if INTERLEAVED:
        pair, second = place // 2, place % 2 == 1
        other = tl.where(second, place - 1, place + 1)
    else:
        second = place >= TURNED
        pair = tl.where(second, place - TURNED, place)
        other = tl.where(second, pair, place + TURNED)
    own = tl.load(x + place, mask=place < HEAD, other=0.0)
    partner = tl.load(x + other, mask=turned, other=0.0)
    c = tl.load(cos + position * TURNED + pair, mask=turned, other=0.0)
    s = tl.load(sin + position * TURNED + pair, mask=turned, other=0.0)
    # First of a pair: a c - b s. Second: b c + a s.
    product = partner * s
    return tl.where(turned, tl.where(second, own * c + product, own * c - product), own)


@triton.jit
def write_keys(head, place, keys, steps, slot, slots, h, LEVELS: tl.constexpr, HEADS: tl.constexpr, HEAD: tl.constexpr):
    """[SIZE] -> keys [pages, HEADS, HEAD / 2, 16, 2] and its step; nothing where there is no such slot."""
    page = (slot // _PAGE).to(tl.int64) * HEADS + h
    there = (slot >= 0) & (slot < slots)
    integers, step = row_integers(tl.where(place < HEAD, head, 0.0), LEVELS)
    target = keys + page * (HEAD * _PAGE) + place // 2 * (2 * _PAGE) + slot % _PAGE * 2 + place % 2
    tl.store(target, integers.to(keys.dtype.element_ty), mask=(place < HEAD) & there)
    tl.store(steps + page * (2 * _PAGE) + slot % _PAGE, step, mask=there)


@triton.jit
def write_values(
    head, place, values, steps, slot, slots, h, LEVELS: tl.constexpr, HEADS: tl.constexpr, HEAD: tl.constexpr
):
    """[SIZE] -> values [pages, HEADS, 8, HEAD, 2] and its step; nothing where there is no such slot."""
    page = (slot // _PAGE).to(tl.int64) * HEADS + h
    there = (slot >= 0) & (slot < slots)
    integers, step = row_integers(tl.where(place < HEAD, head, 0.0), LEVELS)
    target = values + page * (HEAD * _PAGE) + slot % _PAGE // 2 * (2 * HEAD) + place * 2 + slot % 2
    tl.store(target, integers.to(values.dtype.element_ty), mask=(place < HEAD) & there)
    tl.store(steps + page * (2 * _PAGE) + _PAGE + slot % _PAGE, step, mask=there)


@triton.jit
def rope_heads(
    x, positions, cos, sin, y, rows, x_stride, y_stride, table_rows,
    TURNED: tl.constexpr, INTERLEAVED: tl.constexpr, HEAD: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """One program per row and head."""
    t, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    if t < tl.load(rows):
        place = tl.arange(0, SIZE)
        position = row_of_table(positions + t, table_rows)
        turned = turn_head(x + t * x_stride + h * HEAD, place, cos, sin, position, TURNED, INTERLEAVED, HEAD)
        tl.store(y + t * y_stride + h * HEAD + place, turned, mask=place < HEAD)


@triton.jit
def append_heads(
    k, v, slots, keys, values, steps, rows, k_stride, v_stride, slot_count,
    KEY: tl.constexpr, VALUE: tl.constexpr, KV_HEADS: tl.constexpr, HEAD: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """One program per row and head."""
    t, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    if t < tl.load(rows):
        place = tl.arange(0, SIZE)
        slot = tl.load(slots + t)
        key = tl.load(k + t * k_stride + h * HEAD + place, mask=place < HEAD)
        value = tl.load(v + t * v_stride + h * HEAD + place, mask=place < HEAD)
        write_keys(key, place, keys, steps, slot, slot_count, h, KEY, KV_HEADS, HEAD)
        write_values(value, place, values, steps, slot, slot_count, h, VALUE, KV_HEADS, HEAD)


@triton.jit
def rope_append_heads(
    q, k, v, positions, cos, sin, slots, keys, values, steps, y, rows,
    q_stride, k_stride, v_stride, y_stride, table_rows, slot_count, heads,
    TURNED: tl.constexpr, INTERLEAVED: tl.constexpr, KEY: tl.constexpr, VALUE: tl.constexpr,
    KV_HEADS: tl.constexpr, HEAD: tl.constexpr, SIZE: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """One program per row and head: those of q first, then those of k and v."""
    follow(DEPENDENT)
    t, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    if t < tl.load(rows):
        place = tl.arange(0, SIZE)
        position = row_of_table(positions + t, table_rows)
        if h < heads:
            turned = turn_head(q + t * q_stride + h * HEAD, place, cos, sin, position, TURNED, INTERLEAVED, HEAD)
            tl.store(y + t * y_stride + h * HEAD + place, turned, mask=place < HEAD)
        else:
            kv = h - heads
            slot = tl.load(slots + t)
            key = turn_head(k + t * k_stride + kv * HEAD, place, cos, sin, position, TURNED, INTERLEAVED, HEAD)
            value = tl.load(v + t * v_stride + kv * HEAD + place, mask=place < HEAD)
            write_keys(key, place, keys, steps, slot, slot_count, kv, KEY, KV_HEADS, HEAD)
            write_values(value, place, values, steps, slot, slot_count, kv, VALUE, KV_HEADS, HEAD)


def rope(
    context: Context,
    *,
    x: Operand,
    positions: Operand,
    cos: Operand,
    sin: Operand,
    y: Operand,
    headDim: int,
    pairing: str,
) -> list[Launch]:
    """y [T, heads*headDim]: the first 2R elements of every head turned by row `positions[t]` of cos and sin [P, R]."""
    count, width = y.shape
    arguments = {**tensors(x=x, y=y), **strides(x=x, y=y), "rows": y.rows, **_tables(positions, cos, sin)}
    return [Launch(rope_heads, (count, width // headDim), arguments, _turning(cos, headDim, pairing), _warps(headDim))]


def append(
    context: Context,
    *,
    k: Operand,
    v: Operand,
    slots: Operand,
    keys: Operand,
    values: Operand,
    steps: Operand,
    kvHeads: int,
    headDim: int,
) -> list[Launch]:
    """k and v [T, kvHeads*headDim] into the pages: integers and a step for each row of a head."""
    arguments = {**tensors(k=k, v=v), **strides(k=k, v=v), "rows": k.rows, **_pages(slots, keys, values, steps)}
    constants = {**_levels(keys), "KV_HEADS": kvHeads, "HEAD": headDim, "SIZE": triton.next_power_of_2(headDim)}
    return [Launch(append_heads, (k.shape[0], kvHeads), arguments, constants, _warps(headDim))]


def rope_append(
    context: Context,
    *,
    q: Operand,
    k: Operand,
    v: Operand,
    positions: Operand,
    cos: Operand,
    sin: Operand,
    slots: Operand,
    keys: Operand,
    values: Operand,
    steps: Operand,
    y: Operand,
    headDim: int,
    pairing: str,
    kvHeads: int,
) -> list[Launch]:
    """y = rope(q); append(rope(k), v). One launch."""
    count, width = y.shape
    heads = width // headDim
    arguments = {**tensors(q=q, k=k, v=v, y=y), **strides(q=q, k=k, v=v, y=y), "rows": y.rows, "heads": heads}
    arguments |= {**_tables(positions, cos, sin), **_pages(slots, keys, values, steps)}
    constants = {
        **_turning(cos, headDim, pairing),
        **_levels(keys),
        "KV_HEADS": kvHeads,
        "DEPENDENT": dependent(context),
    }
    grid = (count, heads + kvHeads)
    return [Launch(rope_append_heads, grid, arguments, constants, _warps(headDim), dependent=dependent(context))]


def _tables(positions: Operand, cos: Operand, sin: Operand) -> dict:
    return {**tensors(positions=positions, cos=cos, sin=sin), "table_rows": cos.shape[0]}


def _pages(slots: Operand, keys: Operand, values: Operand, steps: Operand) -> dict:
    places = tensors(slots=slots, keys=keys, values=values, steps=steps)
    return {**places, "slot_count": keys.shape[0] * PAGE_SIZE}


def _levels(keys: Operand) -> dict:
    key, value = kv_levels(keys.tensor.dtype)
    return {"KEY": float(key), "VALUE": float(value)}


def _turning(cos: Operand, head: int, pairing: str) -> dict:
    size = triton.next_power_of_2(head)
    return {"TURNED": cos.shape[1], "INTERLEAVED": pairing == "interleaved", "HEAD": head, "SIZE": size}


def _warps(head: int) -> int:
    """Four elements in a thread."""
    return max(1, min(4, int(triton.next_power_of_2(head)) // 128))
