"""A row, or a chunk of a long one, as a tile [BLOCKS, 4, 16]: x[j, i, l] is column 64 j + 16 i + l.

This is the shape in which block sums (numbers.block_sum) need few exchanges between threads, and in which a thread
has four neighbours in memory: loads of 16 bytes, and a group of the carries table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from ..launch import cdiv

#: Columns of a block.
BLOCK = 64
#: Blocks of the longest row that is held in registers, 32 elements in each of 512 threads. They need most of their 128
#: registers; 1024 threads with 16 elements would have 64 and spill.
_HELD_BLOCKS = 256
#: Blocks of a chunk of a longer row: in a loop, addresses need registers as well.
_CHUNK_BLOCKS = 128


@dataclass(frozen=True)
class Tiling:
    """How a row of so many columns is cut: `chunks` tiles of `blocks` blocks, a power of two."""

    blocks: int
    chunks: int

    @property
    def warps(self) -> int:
        """16 elements in each thread, 32 in the longest rows that are held."""
        return min(16, max(1, self.blocks // 8))

    @property
    def roots(self) -> int:
        """`chunks` rounded up to a power of two."""
        return 1 << (self.chunks - 1).bit_length()


def tiling(columns: int, short: bool = False) -> Tiling:
    """One chunk up to 16,384 columns; where a kernel needs registers for more than the row (`short`), 8,192."""
    blocks = max(1, cdiv(columns, BLOCK))
    if blocks <= (_CHUNK_BLOCKS if short else _HELD_BLOCKS):
        return Tiling(1 << (blocks - 1).bit_length(), 1)
    return Tiling(_CHUNK_BLOCKS, cdiv(blocks, _CHUNK_BLOCKS))


def single(value: float) -> float:
    """As float32, where large numbers are infinite: kernels take no others."""
    return torch.tensor(value, dtype=torch.float32).item()


@triton.jit
def tile_columns(first_block, BLOCKS: tl.constexpr):
    """[BLOCKS, 4, 16]: the columns of the tile that begins at a block."""
    j = first_block + tl.arange(0, BLOCKS)[:, None, None]
    return j * 64 + tl.arange(0, 4)[None, :, None] * 16 + tl.arange(0, 16)[None, None, :]


@triton.jit
def load_tile(row, k, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr):
    """float32, 0 beyond the row."""
    whole: tl.constexpr = COLUMNS % (BLOCKS * 64) == 0
    x = tl.load(row + k) if whole else tl.load(row + k, mask=k < COLUMNS, other=0.0)
    return x.to(tl.float32)


@triton.jit
def store_tile(row, k, x, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr):
    if COLUMNS % (BLOCKS * 64) == 0:
        tl.store(row + k, x)
    else:
        tl.store(row + k, x, mask=k < COLUMNS)


@triton.jit
def with_root(roots, chunk, root, ROOTS: tl.constexpr):
    """[ROOTS] with a chunk's block sum in its place: `numbers.pair_tree` of them all is the row's."""
    return tl.where(tl.arange(0, ROOTS) == chunk, root, roots)
