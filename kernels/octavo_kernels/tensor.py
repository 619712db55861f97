"""Tensors: aligned, zeroed memory with a dtype, a layout and a shape, shared by every backend."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ErrorCode, KernelError
from .generated.ops import BYTES_PER_ELEMENT, LAYOUTS, PACKED_COLUMNS, PACKED_ROWS

# A cache line: no two tensors share one, and every vector load of a row start is aligned.
ALIGNMENT = 64
#: From here on memory comes in whole pages from the system, so that freeing a handle gives it back at once.
PAGES_FROM = 64 * 1024
# From here on huge pages pay: a weight matrix then needs few TLB entries.
_HUGE_FROM = 4 * 1024 * 1024
_HUGE_PAGE = 2 * 1024 * 1024


#: Called with the bytes that are about to be taken; raises KernelError OCTAVO_OUT_OF_MEMORY when they are not there.
#: Systems promise more memory than they have, and end who takes it at its word.
Reserve = Callable[[int], None]


def unlimited(size: int) -> None:
    """A Reserve that leaves it to the system."""


def round_up(n: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `n`."""
    return -(-n // multiple) * multiple


def elements(layout: str, dtype: str, shape: tuple[int, ...]) -> int:
    """Elements stored for a tensor, the padding of the packed layout included."""
    if layout == "plain":
        return math.prod(shape)
    if len(shape) != 2:
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"a packed tensor has the shape [N, K], not {list(shape)}")
    rows, columns = shape
    return round_up(rows, PACKED_ROWS) * (round_up(columns, PACKED_COLUMNS) if dtype == "int8" else columns)


def nbytes(dtype: str, layout: str, shape: tuple[int, ...]) -> int:
    """Bytes that a tensor takes: padding included, a multiple of 64, at least 64.

    `ts/program/tensor-bytes.ts` has the same formula, so that the ledger and the worker agree to the byte.
    """
    if dtype not in BYTES_PER_ELEMENT:
        raise KernelError(
            ErrorCode.DTYPE_MISMATCH, f"unknown dtype {dtype!r}; there are {', '.join(BYTES_PER_ELEMENT)}"
        )
    if layout not in LAYOUTS:
        raise KernelError(ErrorCode.DTYPE_MISMATCH, f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if any(size < 0 for size in shape):
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"a negative size in the shape {list(shape)}")
    return max(ALIGNMENT, round_up(elements(layout, dtype, shape) * BYTES_PER_ELEMENT[dtype], ALIGNMENT))


@dataclass(frozen=True, eq=False)
class Tensor:
    """`memory` is one-dimensional uint8, `nbytes(dtype, layout, shape)` long, at a multiple of 64 bytes.

    A numpy array, or a torch tensor where the backend's device has memory of its own: only backends look at it.
    """

    dtype: str
    layout: str
    shape: tuple[int, ...]
    memory: Any


#: By handle.
Tensors = Mapping[int, Tensor]


def allocate(dtype: str, layout: str, shape: tuple[int, ...]) -> Tensor:
    """A zeroed tensor. Raises KernelError OCTAVO_OUT_OF_MEMORY when the system does not give the memory."""
    size = nbytes(dtype, layout, shape)
    # KV pages (rank 3) are touched here and there: with huge pages a first short prompt has 2 MiB zeroed per layer and
    # cache, 70 to 150 ms for the demo model instead of 10, and the memory is taken for good.
    return Tensor(dtype, layout, tuple(shape), aligned_bytes(size, huge=len(shape) <= 2))


def aligned_bytes(size: int, huge: bool = True) -> np.ndarray:
    """`size` zeroed bytes, 64-byte aligned; whole pages from 64 KiB on, huge pages (2 MiB aligned) from 4 MiB on."""
    try:
        if size < PAGES_FROM:
            return _align(np.zeros(size + ALIGNMENT, np.uint8), size, ALIGNMENT)
        if size < _HUGE_FROM or not huge:
            return _align(_pages(size), size, ALIGNMENT)
        return _align(_pages(round_up(size, _HUGE_PAGE) + _HUGE_PAGE, huge=True), size, _HUGE_PAGE)
    except (MemoryError, OSError, OverflowError, ValueError) as error:
        raise KernelError(ErrorCode.OUT_OF_MEMORY, f"the system did not give {size} bytes: {error}") from error


def _pages(size: int, huge: bool = False) -> np.ndarray:
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows: numpy's own zeroed pages do.
        return np.zeros(size, np.uint8)
    # Private: shared anonymous memory would be shmem, which huge pages and overcommit treat differently.
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if huge and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # A kernel without transparent huge pages: only speed is lost.
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)  # The array keeps the mapping alive and its end unmaps it.


def _align(memory: np.ndarray, size: int, alignment: int) -> np.ndarray:
    start = -memory.ctypes.data % alignment
    return memory[start : start + size]
