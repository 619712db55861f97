"""Steps of a llama program (`llama.py`): sequences in, their payload and results by name out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from octavo_kernels.backend import Backend, Counters
from octavo_kernels.program.payload import NUMPY_DTYPES, Layout
from octavo_kernels.program.spec import resolve

from .llama import Llama


@dataclass(frozen=True)
class Row:
    """Tokens of a sequence at positions from `start` on; the last one is sampled.

    `ids`: -1 - j is what the step before drew in its row j. `pages`: the sequence's pages of the cache.
    """

    ids: tuple[int, ...]
    start: int
    pages: tuple[int, ...]
    temperature: float = 0.0
    penalised: tuple[int, ...] = ()


class Runner:
    """A llama on a backend. The arena holds 0xFF at first, so that what nobody wrote shows."""

    def __init__(self, backend: Backend, llama: Llama) -> None:
        self._spec, self._llama = llama.spec, llama
        tensors, arena = llama.load(backend)
        backend.write(arena, 0, llama.arena_bytes, lambda memory: memory.fill(0xFF))
        self.program = backend.define(self._spec, tensors, arena)
        self.tensors = tensors

    def step(self, *rows: Row, profile: np.ndarray | None = None) -> tuple[dict[str, np.ndarray], Counters]:
        """Results by name."""
        sizes, payload = step_data(self._llama, rows)
        reply, counters = self.program.step(sizes, memoryview(payload), profile)
        arrays = Layout(self._spec, self._spec.outputs).split(sizes, memoryview(reply))
        return dict(zip(self._llama.outputs, arrays, strict=True)), counters


def step_data(llama: Llama, rows: Sequence[Row]) -> tuple[dict[str, int], np.ndarray]:
    """Sizes and payload of a step."""
    lengths = [row.start + len(row.ids) for row in rows]
    pages = max((-(-length // 16) for length in lengths), default=0)
    sizes = {
        **{"T": sum(len(row.ids) for row in rows), "S": len(rows), "B": len(rows), "J": pages},
        **{"H": sum(len(row.penalised) for row in rows), "D": 0, "Q": 0},
    }
    arrays = {
        name: np.zeros(resolve(llama.spec.values[index].shape, sizes), NUMPY_DTYPES[llama.spec.values[index].dtype])
        for name, index in llama.inputs.items()
    }
    t = 0
    for b, row in enumerate(rows):
        used = row.pages[: -(-lengths[b] // 16)]
        arrays["pages"][b, : len(used)] = used
        for position, token in enumerate(row.ids, row.start):
            arrays["tokens"][t], arrays["positions"][t] = token, position
            arrays["slots"][t] = row.pages[position // 16] * 16 + position % 16
            t += 1
        arrays["rows"][b] = t - 1
        arrays["settings"][b] = row.temperature, 1, 0, 1.3 if row.penalised else 1, 0, 0
        arrays["counters"][b] = 0, 5, 6, lengths[b], 3, -1, 0
    arrays["lengths"][:] = lengths
    arrays["starts"][1:] = np.cumsum([len(row.ids) for row in rows])
    arrays["historyStarts"][1:] = np.cumsum([len(row.penalised) for row in rows])
    arrays["history"][:] = [token for row in rows for token in row.penalised]
    return sizes, Layout(llama.spec, llama.spec.inputs).pack(sizes, list(arrays.values()))
