"""Programs of stages that only pass rows on, and their steps. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from octavo_kernels import Arena, Columns, Executable, Input, Operation, ProgramSpec, Value
from octavo_kernels.generated.ops import SIZES
from octavo_kernels.program.payload import PayloadLayout
from octavo_kernels.tensor import nbytes, round_up

from .programs import Part


class Stage(NamedTuple):
    """What a rank does in a step: it takes so many columns of what the step brings or, as a later stage, of what it
    receives; gathers those of `part` (None: it has them all); sends the result."""

    takes: int
    receives: bool
    part: Part | None
    sends: bool


class StageProgram:
    """`step` takes a list of one array: rows [T, takes], of which stages that receive theirs only count T. It returns
    what the rank has after it received and gathered.

    `wide`: all values are columns of wider ones.
    """

    def __init__(self, stage: Stage, most_rows: int, wide: bool = False) -> None:
        takes, receives, part, sends = stage
        self._margin = 3 if wide else 0
        self._values: list[Value] = []
        self._most_rows, self.arena_bytes = most_rows, 0
        self._values.append(Value("float32", "plain", ("T", takes), Input()))
        self._values.append(Value("int32", "plain", ("T",), Input()))
        ops, x, inputs = [], 0, [0, 1]
        if receives:
            x = self._rows(takes)
            ops.append(Operation("receive", {"like": 1}, {"y": x}, {"columns": takes}))
        if part is not None:
            own = x
            if receives:  # its part of them
                own = len(self._values)
                root = self._values[x].place
                of, column = (root.of, root.column) if isinstance(root, Columns) else (x, 0)
                self._values.append(Value("float32", "plain", ("T", part.own), Columns(of, column + part.first)))
            x = self._rows(part.columns)
            ops.append(Operation("gather", {"x": own}, {"y": x}, {"columns": part.columns, "first": part.first}))
        if sends:
            ops.append(Operation("send", {"x": x}, {}, {}))
        limits = {size: most_rows if size == "T" else 0 for size in SIZES}
        outputs = [] if x == 0 else [x]
        self.spec = ProgramSpec(tuple(self._values), tuple(ops), tuple(inputs), tuple(outputs), limits)
        self._payload, self._returns = PayloadLayout(self.spec, inputs), PayloadLayout(self.spec, outputs)

    def _rows(self, columns: int) -> int:
        """A value [T, columns] in the arena."""
        width = columns + self._margin
        self._values.append(Value("float32", "plain", ("T", width), Arena(self.arena_bytes)))
        self.arena_bytes += round_up(nbytes("float32", "plain", (self._most_rows, width)), 64)
        if self._margin:
            of = len(self._values) - 1
            self._values.append(Value("float32", "plain", ("T", columns), Columns(of, self._margin)))
        return len(self._values) - 1

    def step(self, executable: Executable, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows = arrays[0].shape[0]
        sizes = {**dict.fromkeys(SIZES, 0), "T": rows}
        payload = self._payload.pack(sizes, [arrays[0], np.zeros(rows, np.int32)])
        reply, _ = executable.step(sizes, memoryview(payload))
        return [y.copy() for y in self._returns.split(sizes, memoryview(reply))]
