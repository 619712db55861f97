"""A process that does what a test asks of a rank: run as a module it serves, and `RankProcess` is its other end."""

from __future__ import annotations

import mmap
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from octavo_kernels import Backend, Executable, KernelError, open_backend, open_group
from octavo_kernels.cpu.group import Group

from .programs import GatherProgram, Part
from .stages import Stage, StageProgram

_TESTS = Path(__file__).parents[1]
_PATHS = os.pathsep.join(map(str, (_TESTS, _TESTS.parent)))


class RankProcess:
    """`memory`: a descriptor of the file that is the group's memory."""

    def __init__(self, memory: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ranks.process", str(memory)],
            pass_fds=(memory,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _PATHS},
        )

    def ask(self, name: str, *arguments: Any) -> None:
        """Let it do a method of Rank; `answer` waits for what comes of it."""
        assert self.process.stdin is not None
        pickle.dump((name, arguments), self.process.stdin)
        self.process.stdin.flush()

    def answer(self) -> Any:
        """What the oldest question returned. Raises the KernelError that it raised."""
        assert self.process.stdout is not None
        fine, answer = pickle.load(self.process.stdout)
        if not fine:
            raise KernelError(*answer)
        return answer

    def call(self, name: str, *arguments: Any) -> Any:
        self.ask(name, *arguments)
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Rank:
    """What a rank's process does. Its answers are pickled."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._backends: dict[tuple[str, int], Backend] = {}
        self._group: Group | None = None
        self._program: tuple[GatherProgram | StageProgram, Executable] | None = None

    def open(self, rank: int, ranks: int, deadline_ms: int, size: int, stages: int = 1) -> None:
        """The group, in the first `size` bytes."""
        self.close()
        memory = np.frombuffer(mmap.mmap(self._descriptor, size), np.uint8)
        self._group = open_group(memory, rank, ranks, deadline_ms, stages)

    def define(self, backend: str, threads: int, parts: Sequence[Part], most_rows: int, wide: bool) -> None:
        self._define(backend, threads, GatherProgram(parts, most_rows, wide))

    def define_stage(self, backend: str, threads: int, stage: Stage, most_rows: int, wide: bool) -> None:
        self._define(backend, threads, StageProgram(stage, most_rows, wide))

    def _define(self, backend: str, threads: int, program: GatherProgram | StageProgram) -> None:
        if self._program is not None:
            self._program[1].close()
            self._program = None
        found = self._backends.get((backend, threads))
        if found is None:
            found = self._backends[backend, threads] = open_backend(backend, threads)
        arena = found.allocate("int8", "plain", (program.arena_bytes,))
        self._program = program, found.define(program.spec, {}, arena, group=self._group)

    def usage(self) -> float:
        """Seconds of processor time that this process has taken."""
        return time.process_time()

    def step(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        assert self._program is not None
        program, executable = self._program
        return program.step(executable, arrays)

    def gather(self, times: int, x: np.ndarray, part: Part) -> tuple[list[float], np.ndarray]:
        """Seconds of each of many gathers without a program, and what the last one made."""
        assert self._group is not None
        seconds, y = [], np.empty(0)
        for number in range(times):
            began = time.perf_counter()
            y = self._group.gather(number, x, part.columns, part.first)
            seconds.append(time.perf_counter() - began)
        return seconds, y

    def close(self) -> None:
        if self._program is not None:
            self._program[1].close()
        if self._group is not None:
            self._group.close()
        self._program = self._group = None

    def held(self) -> tuple[int, int]:
        """Descriptors and mappings of this process."""
        maps = Path("/proc/self/maps").read_text()
        return len(os.listdir("/proc/self/fd")), maps.count("\n")


def serve(rank: Rank) -> None:
    """Until stdin ends."""
    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = True, getattr(rank, name)(*arguments)
        except KernelError as error:
            answer = False, (error.code, error.message)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve(Rank(int(sys.argv[1])))
