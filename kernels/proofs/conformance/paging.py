"""Inputs of the ops that know KV pages: rope tables, slots, page tables, keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from octavo_kernels.generated.ops import PAGE_SIZE

from .floats import narrow

Arrays = dict[str, np.ndarray]

KV_AXES: dict[str, tuple] = {"kvHeads": (2, 1, 3), "headDim": (16, 2, 10, 64, 96)}
_EXTREMES = np.array(
    [1e6, 65504, 65519.99, 65520, np.nan, np.inf, -np.inf, 3.3895e38, 3.3961e38, 3.3962e38, 3.4e38], np.float32
)
_POSITIONS = 40
_PAGES = 9


def tables(o: Mapping[str, Any], rng: np.random.Generator, query: bool = False) -> Arrays:
    """Cosines and sines of `part` of each head, and positions; with `query` the rows q."""
    turned = max(1, int(o["headDim"] * o["part"]) // 2)
    angle = np.arange(_POSITIONS)[:, None] / 100.0 ** (np.arange(turned) / turned)
    arrays = {
        "positions": rng.integers(0, _POSITIONS, o["T"], dtype=np.int32),
        "cos": np.cos(angle).astype(np.float32),
        "sin": np.sin(angle).astype(np.float32),
    }
    if query:
        arrays["q"] = rng.standard_normal((o["T"], o["heads"] * o["headDim"])).astype(np.float32)
    return arrays


def appended(o: Mapping[str, Any], rng: np.random.Generator) -> Arrays:
    """New keys and values for slots of their own, among pages that hold something already."""
    width = o["kvHeads"] * o["headDim"]
    k, v = rng.standard_normal((2, o["T"], width)).astype(np.float32)
    # Beyond a type of the pages, by much or by a rounding, and the largest that it holds.
    for t, number in enumerate(_EXTREMES[: o["T"]]):
        k[t, -1], v[t, 0] = -number, number
    return {
        "k": k,
        "v": v,
        "slots": rng.permutation(_PAGES * PAGE_SIZE)[: o["T"]].astype(np.int32),
        "keys": rng.standard_normal((_PAGES, o["kvHeads"], o["headDim"], PAGE_SIZE)).astype(np.float32),
        "values": rng.standard_normal((_PAGES, o["kvHeads"], PAGE_SIZE, o["headDim"])).astype(np.float32),
    }


def attended(o: Mapping[str, Any], rng: np.random.Generator) -> Arrays:
    """Sequences (queries, keys) in scattered pages. What lies beyond a sequence's keys is `beyond`: never looked at."""
    sequences, heads = o["sequences"], o["kvHeads"] * o["group"]
    queries = [count for count, _ in sequences]
    lengths = np.array([length for _, length in sequences], np.int32)
    used = [-(-int(length) // PAGE_SIZE) for length in lengths]
    total = sum(used) + 2
    numbers = iter(rng.permutation(total).tolist())
    # What a table holds beyond a sequence's pages is not specified.
    pages = np.full((len(sequences), max(used, default=0) + 1), -7, np.int32)
    filler = np.float32(np.nan if o["beyond"] == "NaN" else 0)
    keys = np.full((total, o["kvHeads"], o["headDim"], PAGE_SIZE), filler)
    values = np.full((total, o["kvHeads"], PAGE_SIZE, o["headDim"]), filler)
    for b, length in enumerate(lengths):
        for j in range(used[b]):
            page = pages[b, j] = next(numbers)
            filled = min(PAGE_SIZE, int(length) - j * PAGE_SIZE)
            keys[page, :, :, :filled] = rng.standard_normal((o["kvHeads"], o["headDim"], filled))
            values[page, :, :filled] = rng.standard_normal((o["kvHeads"], filled, o["headDim"]))
    rows = sum(queries)
    q = rng.standard_normal((rows, heads * o["headDim"])).astype(np.float32)
    spoil = _SPOILT[o["spoilt"]]
    for b, length in enumerate(lengths.tolist()):
        # A key that only the later queries of a sequence see, and of another one's first query.
        if b % 2 == 0 and queries[b]:
            spoil(
                q, keys, values, int(np.sum(queries[:b])), pages[b, (length - 1) // PAGE_SIZE], (length - 1) % PAGE_SIZE
            )
    return {
        "q": q,
        "keys": keys,
        "values": values,
        "pages": pages,
        "lengths": lengths,
        "starts": np.concatenate([[0], np.cumsum(queries)]).astype(np.int32),
        "slopes": (2.0 ** -np.arange(1, heads + 1)).astype(np.float32),
    }


def _spoil_query(number: float):
    def spoil(q, keys, values, row: int, page: int, offset: int) -> None:
        q[row, 0] = number

    return spoil


def _spoil_key(number: float):
    def spoil(q, keys, values, row: int, page: int, offset: int) -> None:
        keys[page, 0, 0, offset] = number

    return spoil


def _spoil_value(number: float):
    def spoil(q, keys, values, row: int, page: int, offset: int) -> None:
        values[page, -1, offset, -1] = number

    return spoil


def _overflow(sign: float):
    """A score beyond float32 from finite numbers, of the last key alone."""

    def spoil(q, keys, values, row: int, page: int, offset: int) -> None:
        q[row, :2] = 3e38, 1e-30
        keys[page, 0, :2, offset] = sign * 60000, 0

    return spoil


_SPOILT = {
    "nothing": lambda *_: None,
    "a query NaN": _spoil_query(np.nan),
    "a query infinite": _spoil_query(np.inf),
    "a key NaN": _spoil_key(np.nan),
    "a value NaN": _spoil_value(np.nan),
    "a score infinite": _overflow(1),
    "a score minus infinite": _overflow(-1),
}
SPOILT = tuple(_SPOILT)


def paged(k: np.ndarray, v: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Keys and values [length, kvHeads, headDim] as pages 0, 1, ... of the cache, in `dtype`."""
    length = k.shape[0]
    pad = ((0, -length % PAGE_SIZE), (0, 0), (0, 0))
    keys = np.pad(k, pad).reshape(-1, PAGE_SIZE, *k.shape[1:]).transpose(0, 2, 3, 1)
    values = np.pad(v, pad).reshape(-1, PAGE_SIZE, *v.shape[1:]).transpose(0, 2, 1, 3)
    return narrow(np.ascontiguousarray(keys), dtype), narrow(np.ascontiguousarray(values), dtype)
