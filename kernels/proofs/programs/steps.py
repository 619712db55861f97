"""Steps of a program: sequences in, sizes and payload out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from octavo_kernels.generated.ops import PAGE_SIZE
from octavo_kernels.program.payload import NUMPY_DTYPES, PayloadLayout
from octavo_kernels.program.spec import resolve

from .file import Program


@dataclass(frozen=True)
class Row:
    """Tokens of a sequence at positions from `start` on; the last one is sampled.

    `ids`: -1 - j is what the step before drew in its row j; 1 + j to a program that draws nothing. `pages`: the
    sequence's pages of the cache.
    """

    ids: tuple[int, ...]
    start: int
    pages: tuple[int, ...]
    temperature: float = 0.0
    penalised: tuple[int, ...] = ()


def step_data(program: Program, rows: Sequence[Row]) -> tuple[dict[str, int], np.ndarray]:
    """Sizes and payload of a step."""
    lengths = [row.start + len(row.ids) for row in rows]
    pages = max((-(-length // PAGE_SIZE) for length in lengths), default=0)
    draws = program.draws
    sizes = {
        **{"T": sum(len(row.ids) for row in rows), "S": len(rows), "B": len(rows), "J": pages},
        **{"H": sum(len(row.penalised) for row in rows) if draws else 0, "D": 0, "Q": 0},
    }
    values = program.spec.values
    arrays = {
        name: np.zeros(resolve(values[index].shape, sizes), NUMPY_DTYPES[values[index].dtype])
        for name, index in program.inputs.items()
    }
    t, last = 0, []
    for b, row in enumerate(rows):
        used = row.pages[: -(-lengths[b] // PAGE_SIZE)]
        arrays["pages"][b, : len(used)] = used
        for position, token in enumerate(row.ids, row.start):
            arrays["tokens"][t], arrays["positions"][t] = token if draws else abs(token), position
            arrays["slots"][t] = row.pages[position // PAGE_SIZE] * PAGE_SIZE + position % PAGE_SIZE
            t += 1
        last.append(t - 1)
        if draws:
            arrays["settings"][b] = row.temperature, 1, 0, 1.3 if row.penalised else 1, 0, 0
            arrays["counters"][b] = 0, 5, 6, lengths[b], 3, -1, 0
    # A program that scores judges a fixed number of rows.
    arrays["rows"][:] = np.resize(last, arrays["rows"].shape)
    arrays["lengths"][:] = lengths
    arrays["starts"][1:] = np.cumsum([len(row.ids) for row in rows])
    if draws:
        arrays["historyStarts"][1:] = np.cumsum([len(row.penalised) for row in rows])
        arrays["history"][:] = [token for row in rows for token in row.penalised]
    if "targets" in arrays:
        arrays["targets"][:] = np.arange(arrays["targets"].size) * 7
    return sizes, PayloadLayout(program.spec, program.spec.inputs).pack(sizes, list(arrays.values()))
