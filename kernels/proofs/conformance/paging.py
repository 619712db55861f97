"""Inputs of the ops that know KV pages: rope tables, slots, page tables, keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from octavo_kernels.generated.ops import PAGE_SIZE
from octavo_kernels.reference.pages import write_rows

Arrays = dict[str, np.ndarray]

KV_AXES: dict[str, tuple] = {"kvHeads": (2, 1, 3), "headDim": (16, 2, 10, 64, 96)}
KV_TYPES = ("int16", "int8")
# At and around what a row may hold: 2^50 is beyond, below 2^-60 is 0.
_EXTREMES = np.array(
    [1e6, np.nan, np.inf, -np.inf, 2.0**50, 2.0**50 * (1 - 2.0**-24), 3.4e38, 2.0**-60, 2.0**-61, 1e-42], np.float32
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


def quantized(k: np.ndarray, v: np.ndarray, dtype: str) -> Arrays:
    """K and V float32 [pages, kvHeads, 16, headDim] as whole pages: keys, values, steps."""
    pages, heads, _, head_dim = k.shape
    target = {
        "keys": torch.zeros(pages, heads, PAGE_SIZE * head_dim, dtype=getattr(torch, dtype)),
        "values": torch.zeros(pages, heads, PAGE_SIZE * head_dim, dtype=getattr(torch, dtype)),
        "steps": torch.zeros(pages, heads, 2 * PAGE_SIZE),
    }
    k, v = (np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(-1, heads * head_dim) for x in (k, v))
    write_rows(torch.from_numpy(k), torch.from_numpy(v), torch.arange(pages * PAGE_SIZE), **target, head_dim=head_dim)
    return {name: x.numpy() for name, x in target.items()}


def paged(k: np.ndarray, v: np.ndarray, dtype: str) -> Arrays:
    """Keys and values float32 [length, kvHeads, headDim] as pages 0, 1, ... of the cache; zeros behind them."""
    pad = ((0, -k.shape[0] % PAGE_SIZE), (0, 0), (0, 0))
    keys, values = (np.pad(x, pad).reshape(-1, PAGE_SIZE, *x.shape[1:]).transpose(0, 2, 1, 3) for x in (k, v))
    return quantized(keys, values, dtype)


def appended(o: Mapping[str, Any], rng: np.random.Generator) -> Arrays:
    """New keys and values for slots of their own, among pages that hold something already."""
    heads, head_dim = o["kvHeads"], o["headDim"]
    k, v = rng.standard_normal((2, o["T"], heads * head_dim)).astype(np.float32)
    for t, number in enumerate(_EXTREMES[: o["T"]]):
        if number < 1:  # alone in its row
            k[t, -head_dim:], v[t, :head_dim] = 0, 0
        k[t, -1], v[t, 0] = -number, number
    held_k, held_v = rng.standard_normal((2, _PAGES, heads, PAGE_SIZE, head_dim)).astype(np.float32)
    slots = rng.permutation(_PAGES * PAGE_SIZE)[: o["T"]].astype(np.int32)
    return {"k": k, "v": v, "slots": slots, **quantized(held_k, held_v, o["keys.dtype"])}


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
    k, v = np.full((2, total, o["kvHeads"], PAGE_SIZE, o["headDim"]), filler)
    for b, length in enumerate(lengths):
        for j in range(used[b]):
            page = pages[b, j] = next(numbers)
            filled = min(PAGE_SIZE, int(length) - j * PAGE_SIZE)
            k[page, :, :filled], v[page, :, :filled] = rng.standard_normal((2, o["kvHeads"], filled, o["headDim"]))
    rows = sum(queries)
    q = rng.standard_normal((rows, heads * o["headDim"])).astype(np.float32)
    spoil = _SPOILT[o["spoilt"]]
    for b, length in enumerate(lengths.tolist()):
        # A key that only the later queries of a sequence see, and of another one's first query.
        if b % 2 == 0 and queries[b]:
            spoil(q, k, v, int(np.sum(queries[:b])), pages[b, (length - 1) // PAGE_SIZE], (length - 1) % PAGE_SIZE)
    return {
        "q": q,
        **quantized(k, v, o["keys.dtype"]),
        "pages": pages,
        "lengths": lengths,
        "starts": np.concatenate([[0], np.cumsum(queries)]).astype(np.int32),
        "slopes": (2.0 ** -np.arange(1, heads + 1)).astype(np.float32),
        "bias": rng.standard_normal((heads, o["distances"])).astype(np.float32),
    }


def _spoil_query(number: float):
    def spoil(q, k, v, row: int, page: int, offset: int) -> None:
        q[row, 0] = number

    return spoil


def _spoil_key(number: float):
    def spoil(q, k, v, row: int, page: int, offset: int) -> None:
        k[page, 0, offset, 0] = number

    return spoil


def _spoil_value(number: float):
    def spoil(q, k, v, row: int, page: int, offset: int) -> None:
        v[page, -1, offset, -1] = number

    return spoil


def _huge(size: float):
    """Scores of both signs that leave exp's range, of a query and the last key."""

    def spoil(q, k, v, row: int, page: int, offset: int) -> None:
        q[row] *= size
        k[page, 0, offset] *= size

    return spoil


_SPOILT = {
    "nothing": lambda *_: None,
    "a query NaN": _spoil_query(np.nan),
    "a query infinite": _spoil_query(np.inf),
    "a key NaN": _spoil_key(np.nan),
    "a value NaN": _spoil_value(np.nan),
    "scores in the thousands": _huge(50),
    "scores beyond 2^24": _huge(1e5),
    "scores beyond 2^70": _huge(2.0**36),
}
SPOILT = tuple(_SPOILT)
