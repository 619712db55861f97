"""Which form of attention computes a step, of which tiles."""

from __future__ import annotations

import torch

from ....errors import ErrorCode, KernelError
from ....generated.ops import ATTENTION_CHUNK, PAGE_SIZE
from ....generated.workspace import SPLIT_BYTES
from ...launch import Context, Launch, Operand, cdiv, strides, tensors
from ..dependent import dependent
from .split import attend_chunks, join_chunks
from .tile import attend_tiles

#: Tiles of queries from this many queries per sequence on; below it each query is alone, however long the others' are.
_QUERIES_FOR_TILES = 4
#: Elements of a tile's output, and most rows.
_TILE_ELEMENTS, _MOST_TILE_ROWS = 64 * 128, 64
#: Page and chunk that the kernels are written for (block.py).
_WRITTEN_FOR = (16, 256)


def attention(
    context: Context,
    *,
    q: Operand,
    keys: Operand,
    values: Operand,
    pages: Operand,
    lengths: Operand,
    starts: Operand,
    y: Operand,
    slopes: Operand | None = None,
    heads: int,
    kvHeads: int,
    headDim: int,
    scale: float,
    window: int,
    softcap: float,
) -> list[Launch]:
    """q [T, heads*headDim], keys [G, kvHeads, headDim, 16], values [G, kvHeads, 16, headDim], pages [B, J],
    lengths [B], starts [B+1], slopes [heads] -> y as q.

    The form follows from the capacities alone, and the results do not depend on it. One query per sequence, few
    programs: a program per chunk of keys and query head, joined by a second launch. One query, many programs: a program
    per query and kv head. Many queries: a program per tile of them.
    """
    if (PAGE_SIZE, ATTENTION_CHUNK) != _WRITTEN_FOR:
        text = f"attention: pages of {PAGE_SIZE} and chunks of {ATTENTION_CHUNK} keys; the kernels have {_WRITTEN_FOR}"
        raise KernelError(ErrorCode.WORKER_FAILED, text)
    rows, pages_per_sequence = q.shape[0], pages.shape[1]
    if rows == 0 or pages_per_sequence == 0:
        return []
    group, chunks = heads // kvHeads, cdiv(pages_per_sequence * PAGE_SIZE, ATTENTION_CHUNK)
    block_d = _power_of_two(headDim)
    arguments = tensors(q=q, keys=keys, values=values, pages=pages, lengths=lengths, starts=starts, slopes=slopes)
    arguments |= {"sequences": lengths.rows, **strides(q=q, pages=pages, page=keys)}
    arguments |= {"scale": float(scale), "softcap": float(softcap)}
    constants = {"GROUP": group, "D": headDim, "WINDOW": window, "SOFTCAP": softcap != 0, "BLOCK_D": block_d}
    alone = rows < _QUERIES_FOR_TILES * lengths.shape[0]
    split_bytes = 4 * rows * heads * chunks * (headDim + ATTENTION_CHUNK + 2)
    if alone and rows * kvHeads < 2 * context.processors and split_bytes <= SPLIT_BYTES:
        parts = {
            "maxima": context.scratch(torch.float32, rows, heads, chunks),
            "totals": context.scratch(torch.float32, rows, heads, chunks),
            "outputs": context.scratch(torch.float32, rows, heads, chunks, headDim),
        }
        shared = context.scratch(torch.float32, rows, heads, chunks, ATTENTION_CHUNK)
        joined = {**tensors(lengths=lengths, starts=starts, y=y), "rows": q.rows}
        joined |= {"sequences": lengths.rows, "chunks": chunks, **strides(y=y)}
        constants["DEPENDENT"] = dependent(context)
        join = {name: constants[name] for name in ("D", "WINDOW", "BLOCK_D", "DEPENDENT")}
        grid = (heads, chunks, rows)
        attending = {**arguments, **parts, "shared": shared, "rows": q.rows}
        return [
            Launch(attend_chunks, grid, attending, constants, dependent=constants["DEPENDENT"]),
            Launch(join_chunks, (heads, rows), {**parts, **joined}, join, warps=1, dependent=constants["DEPENDENT"]),
        ]
    group_rows = _power_of_two(group)
    # ptxas likes to spill a few bytes for one more block per processor, unless it is told how many registers it has.
    keys_at_once, warps, registers = (
        (32, 4, 168 if group_rows <= 4 else None) if group_rows <= 8 else (16, 8, 200 if group_rows <= 64 else None)
    )
    # The output and its chunk's are in registers: 64 rows of 128 elements fit eight warps.
    # From 64 rows on, Triton 3.6 computes a float32 dot on sm_100's tensor cores as TF32, also where it says "ieee".
    most_rows = _MOST_TILE_ROWS // 2 if context.architecture >= 100 else _MOST_TILE_ROWS
    tile_rows = group_rows if alone else max(group_rows, min(_TILE_ELEMENTS // block_d, most_rows))
    queries = 1 if alone else tile_rows // group
    tiles = rows // queries + lengths.shape[0]
    maxima = context.scratch(torch.float32, tiles, kvHeads, chunks, tile_rows)
    arguments |= {"maxima": maxima, "chunks": chunks, **tensors(y=y), **strides(y=y)}
    if not alone:
        keys_at_once, warps = 16, 8 if tile_rows * block_d > _TILE_ELEMENTS // 2 else 4
        registers = 200 if context.architecture >= 100 and warps == 4 else None
    sizes = {"QUERIES": queries, "M": tile_rows, "N": keys_at_once, "STEP": 16}
    return [Launch(attend_tiles, (tiles, kvHeads), arguments, {**constants, **sizes}, warps, registers=registers)]


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
