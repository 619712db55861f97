"""Programs that only gather, and their steps. Needs no torch: a rank's process starts in no time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from octavo_kernels import Arena, Columns, Executable, Input, Operation, ProgramSpec, Value
from octavo_kernels.generated.ops import SIZES
from octavo_kernels.program.payload import PayloadLayout
from octavo_kernels.tensor import nbytes, round_up


class Part(NamedTuple):
    """A rank's columns in one gather: how many, how many the ranks before have, and how many all have."""

    own: int
    first: int
    columns: int


def parts_of(widths: Sequence[int]) -> list[Part]:
    """Each rank's part of a gather, from how many columns each has."""
    return [Part(own, end - own, sum(widths)) for own, end in zip(widths, accumulate(widths), strict=True)]


class GatherProgram:
    """One gather after the other, each of an array that the step brings: `steps` on it take and return lists of arrays.

    `wide`: x and y are columns of wider values.
    """

    def __init__(self, parts: Sequence[Part], most_rows: int, wide: bool = False) -> None:
        margin = 3 if wide else 0
        values: list[Value] = []
        ops, inputs, outputs, arena = [], [], [], 0
        for own, first, columns in parts:
            inputs.append(len(values))
            values.append(Value("float32", "plain", ("T", own + margin), Input()))
            x = inputs[-1]
            if wide:
                x = len(values)
                values.append(Value("float32", "plain", ("T", own), Columns(inputs[-1], margin)))
            y = len(values)
            values.append(Value("float32", "plain", ("T", columns + margin), Arena(arena)))
            arena += round_up(nbytes("float32", "plain", (most_rows, columns + margin)), 64)
            if wide:
                y = len(values)
                values.append(Value("float32", "plain", ("T", columns), Columns(y - 1, margin)))
            outputs.append(y)
            ops.append(Operation("gather", {"x": x}, {"y": y}, {"columns": columns, "first": first}))
        limits = {size: most_rows if size == "T" else 0 for size in SIZES}
        self.spec = ProgramSpec(tuple(values), tuple(ops), tuple(inputs), tuple(outputs), limits)
        self.arena_bytes, self._margin = arena, margin
        self._brings, self._returns = PayloadLayout(self.spec, inputs), PayloadLayout(self.spec, outputs)

    def step(self, executable: Executable, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What each gather makes of its array [T, own]."""
        sizes = {**dict.fromkeys(SIZES, 0), "T": arrays[0].shape[0]}
        whole = [np.pad(x, ((0, 0), (self._margin, 0)), constant_values=np.nan) for x in arrays]
        reply, _ = executable.step(sizes, memoryview(self._brings.pack(sizes, whole)))
        return [y.copy() for y in self._returns.split(sizes, memoryview(reply))]
