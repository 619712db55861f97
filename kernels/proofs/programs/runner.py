"""A program on a backend, with random contents."""

from __future__ import annotations

import numpy as np
from octavo_kernels.backend import Backend, Counters
from octavo_kernels.cpu.group import Group
from octavo_kernels.program.payload import PayloadLayout

from .contents import Files, load
from .file import Program
from .steps import Row, step_data


class Runner:
    """The arena holds 0xFF at first, so that what nobody wrote shows. `files`, `group`: of one of several ranks."""

    def __init__(
        self, backend: Backend, program: Program, files: Files | None = None, group: Group | None = None
    ) -> None:
        self._backend, self._program = backend, program
        self.tensors = load(backend, program, files)
        arena = backend.allocate("int8", "plain", (program.arena_bytes,))
        backend.write(arena, 0, program.arena_bytes, lambda memory: memory.fill(0xFF))
        self.executable = backend.define(program.spec, self.tensors, arena, group=group)

    def step(self, *rows: Row, profile: np.ndarray | None = None) -> tuple[dict[str, np.ndarray], Counters]:
        """Results by name."""
        return self.run(*step_data(self._program, rows), profile)

    def run(
        self, sizes: dict[str, int], payload: np.ndarray, profile: np.ndarray | None = None
    ) -> tuple[dict[str, np.ndarray], Counters]:
        """A step of these data, which are for all ranks those of the first one's program."""
        reply, counters = self.executable.step(sizes, memoryview(payload), profile)
        arrays = PayloadLayout(self._program.spec, self._program.spec.outputs).split(sizes, memoryview(reply))
        return dict(zip(self._program.outputs, arrays, strict=True)), counters

    def states(self) -> dict[str, bytes]:
        """KV pages and all else that steps leave for later ones, by name."""
        return {
            one.name: self._backend.read(self.tensors[number]).tobytes()
            for number, one in enumerate(self._program.parameters, 1)
            if one.source["type"] == "state"
        }
