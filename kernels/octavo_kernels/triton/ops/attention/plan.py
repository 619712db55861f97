"""Which form of attention computes a step, of which tiles."""

from __future__ import annotations

from functools import cache

import torch

from ....errors import ErrorCode, KernelError
from ....generated.ops import ATTENTION_BLOCK, PAGE_SIZE
from ....generated.workspace import SPLIT_BYTES
from ....reference.attention import query_levels, weight_bits
from ....reference.pages import kv_levels
from ...launch import Context, Launch, Operand, cdiv, strides, tensors
from ..dependent import dependent
from .split import attend_blocks, join_blocks
from .tile import attend_tiles

#: Tiles of queries from this many queries per sequence on; below it each query is alone, however long the others' are.
_QUERIES_FOR_TILES = 4
#: Rows of a tile: mma multiplies 16 at a time; of 32 the sums, digits and outputs fit the registers of four warps.
#: A program has at most the least rows of query heads: more of a kv head are parts, each of which reads the keys.
_LEAST_ROWS, _TILE_ROWS = 16, 32
#: Heads of more elements than this have tiles of fewer rows.
_WIDE_HEAD = 128
#: Page and block that the kernels are written for (digits.py).
_WRITTEN_FOR = (16, 128)


def attention(
    context: Context,
    *,
    q: Operand,
    keys: Operand,
    values: Operand,
    steps: Operand,
    pages: Operand,
    lengths: Operand,
    starts: Operand,
    y: Operand,
    slopes: Operand | None = None,
    bias: Operand | None = None,
    heads: int,
    kvHeads: int,
    headDim: int,
    scale: float,
    causal: bool,
    window: int,
    softcap: float,
) -> list[Launch]:
    """q [T, heads*headDim], keys and values [G, kvHeads, 16*headDim] int16 or int8, steps [G, kvHeads, 32],
    pages [B, J], lengths [B], starts [B+1], slopes [heads], bias [heads, R] -> y as q.

    The form follows from the capacities alone, and the results do not depend on it. One query per sequence, few
    programs: a program per block of keys and kv head, joined by a second launch. One query, many programs: a program
    per query and kv head. Many queries: a program per tile of them. Query heads of a kv head that are too many for a
    program are divided among several.
    """
    if (PAGE_SIZE, ATTENTION_BLOCK) != _WRITTEN_FOR:
        text = f"attention: pages of {PAGE_SIZE} and blocks of {ATTENTION_BLOCK} keys; the kernels have {_WRITTEN_FOR}"
        raise KernelError(ErrorCode.WORKER_FAILED, text)
    rows, pages_per_sequence = q.shape[0], pages.shape[1]
    if rows == 0 or pages_per_sequence == 0:
        return []
    group = _heads_of_a_program(heads // kvHeads)
    parts, blocks = heads // group, cdiv(pages_per_sequence * PAGE_SIZE, ATTENTION_BLOCK)
    block_d = max(32, _power_of_two(headDim))  # the least depth of an int8 product
    arguments = tensors(
        q=q,
        keys=keys,
        values=values,
        steps=steps,
        pages=pages,
        lengths=lengths,
        starts=starts,
        slopes=slopes,
        bias=bias,
    )
    arguments |= {"sequences": lengths.rows, **strides(q=q, pages=pages, page=keys, steps=steps)}
    arguments |= {"reach": bias.shape[1] if bias else 0, "scale": float(scale), "softcap": float(softcap)}
    dtype = keys.tensor.dtype
    of_keys = {"CAUSAL": causal, "WINDOW": window}
    joining = {"D": headDim, "BLOCK_D": block_d, "BITS": weight_bits(dtype), **of_keys}
    constants = {**joining, "PARTS": parts // kvHeads, "GROUP": group, "SOFTCAP": softcap != 0}
    constants |= {"LEVELS": float(query_levels(dtype, headDim))}
    constants |= {"WIDE": dtype == torch.int16, "ONE_SUM": _one_sum(headDim), "ASM": not context.interpreted}
    alone = rows < _QUERIES_FOR_TILES * lengths.shape[0]
    split_bytes = 4 * rows * heads * blocks * (headDim + 3)
    if alone and rows * parts < 2 * context.processors and split_bytes <= SPLIT_BYTES:
        between = {
            "exponents": context.scratch(torch.float32, rows, heads, blocks),
            "powers": context.scratch(torch.int32, rows, heads, blocks),
            "totals": context.scratch(torch.int32, rows, heads, blocks),
            "outputs": context.scratch(torch.int32, rows, heads, blocks, headDim),
        }
        after = {"DEPENDENT": dependent(context)}
        joined = {**tensors(lengths=lengths, starts=starts, y=y), "rows": q.rows, "sequences": lengths.rows}
        joined |= {"blocks": blocks, **strides(y=y)}
        attending = {**arguments, **between, "rows": q.rows}
        constants |= {"M": _LEAST_ROWS, **after}
        # On sm_100 a kernel has 128 registers for each thread of four warps, a few too few for heads of 64.
        many = block_d >= (64 if context.architecture >= 100 else ATTENTION_BLOCK)
        grid, warps = (parts, blocks, rows), 8 if many else 4
        return [
            Launch(attend_blocks, grid, attending, constants, warps, dependent=after["DEPENDENT"]),
            Launch(
                join_blocks, (heads, rows), {**between, **joined}, {**joining, **after}, 1, dependent=after["DEPENDENT"]
            ),
        ]
    tile_rows = _LEAST_ROWS if alone or block_d > _WIDE_HEAD else _TILE_ROWS
    queries = 1 if alone else tile_rows // group
    tiles = rows // queries + lengths.shape[0]
    arguments |= {**tensors(y=y), **strides(y=y)}
    # Scores that are floats before their maximum is known take registers beside the sums, and so do a window's bounds;
    # wide heads take shared memory.
    more = softcap != 0 or slopes is not None or bias is not None or window != 0
    # Eight query heads or more: a few registers too many for sm_86 and sm_89.
    more = more or (group >= 8 and context.architecture in (86, 89))
    warps = 4 if block_d < _WIDE_HEAD or (block_d == _WIDE_HEAD and not more) else 8
    stages = 2 if block_d <= _WIDE_HEAD else 1
    return [
        Launch(
            attend_tiles, (parts, tiles), arguments, {**constants, "QUERIES": queries, "M": tile_rows}, warps, stages
        )
    ]


def _heads_of_a_program(group: int) -> int:
    """The most query heads of a kv head, dividing them evenly, that are rows of one program."""
    return next(heads for heads in range(_LEAST_ROWS, 0, -1) if group % heads == 0)


@cache
def _one_sum(head_dim: int) -> bool:
    """Whether products of q and k of 16-bit pages, without those of both low digits, always fit int32 (digits.py)."""
    most, key = query_levels(torch.int16, head_dim), kv_levels(torch.int16)[0]
    # For each q the largest magnitudes are at the ends of k.
    largest = max(abs((q >> 7) * k + (q & 127) * (k >> 7)) for q in range(-most, most + 1) for k in (-key, key))
    return 128 * largest * head_dim < 2**31


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
