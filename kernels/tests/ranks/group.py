"""The processes of a group, with one file as their memory, and numbers for them."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache

import numpy as np
from octavo_kernels import KernelError

from .process import RankProcess
from .programs import Part
from .stages import Stage

BYTES = 1 << 20
#: Longer than any test: nothing ends by it.
PATIENT = 600_000
#: In which a rank's numbers are.
LINE = 64


class Ranks:
    """Processes with one file as memory, used again by each test."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.truncate(BYTES)
        self._processes: list[RankProcess] = []
        self._ranks = 0

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def processes(self) -> list[RankProcess]:
        return self._processes[: self._ranks]

    def open(
        self, ranks: int, size: int = BYTES, deadline_ms: int = PATIENT, numbers: int = 0, stages: int = 1
    ) -> list[RankProcess]:
        """A new group, in memory that is zero but for the numbers of meetings, and of messages, so far."""
        while len(self._processes) < ranks:
            self._processes.append(RankProcess(self.descriptor))
        self._ranks = ranks
        os.pwrite(self.descriptor, bytes(BYTES), 0)
        for rank in range(ranks):
            os.pwrite(self.descriptor, 3 * numbers.to_bytes(4, sys.byteorder), LINE * (rank + 1))
        arguments = [(rank, ranks, deadline_ms, size, stages) for rank in range(ranks)]
        return self.all("open", arguments, self.processes())[1]

    def define(self, parts: Sequence[Sequence[Part]], most_rows: int, **options) -> None:
        """`parts`: of each rank, of each gather. Options as of `define_stages`."""
        self._define("define", parts, most_rows, **options)

    def define_stages(self, stages: Sequence[Stage], most_rows: int, **options) -> None:
        """`stages`: of each rank. Options: `backends`, which the ranks take in turn, `threads`, `wide`."""
        self._define("define_stage", stages, most_rows, **options)

    def _define(
        self,
        name: str,
        of_ranks: Sequence,
        most_rows: int,
        backends: Sequence[str] = ("cpu",),
        threads: int = 1,
        wide: bool = False,
    ) -> None:
        arguments = [
            (backends[rank % len(backends)], threads, of_rank, most_rows, wide) for rank, of_rank in enumerate(of_ranks)
        ]
        self.all(name, arguments, self.processes())

    def step(self, arrays: Sequence[Sequence[np.ndarray]]) -> list:
        """What each rank answers to its arrays: arrays, or its KernelError."""
        return self.all("step", [(rank_arrays,) for rank_arrays in arrays], self.processes())[0]

    @staticmethod
    def all(name: str, arguments: Sequence[tuple], processes: list[RankProcess]) -> tuple[list, list[RankProcess]]:
        """Ask all, then hear all."""
        for process, given in zip(processes, arguments, strict=True):
            process.ask(name, *given)
        return [heard(process) for process in processes], processes

    def abort(self, *waiting: int) -> None:
        """As the orchestrator does it, once these ranks have come to the first meeting."""
        for rank in waiting:
            while os.pread(self.descriptor, 1, LINE * (rank + 1)) != b"\1":
                time.sleep(0.001)
        os.pwrite(self.descriptor, b"\1", 0)

    def replace(self, rank: int) -> None:
        """A process that was killed, by a new one."""
        self._processes[rank].end()
        self._processes[rank] = RankProcess(self.descriptor)

    def end(self) -> None:
        for process in self._processes:
            process.end()
        self._file.close()


def heard(process: RankProcess):
    """An answer, or the KernelError."""
    try:
        return process.answer()
    except KernelError as error:
        return error


@cache
def numbers(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Among them NaN with a payload, infinities, minus zero and subnormals: they are copied, not computed with."""
    bits = np.random.default_rng(seed).integers(0, 1 << 32, (rows, columns), dtype=np.uint32)
    bits.flat[: bits.size // 2 : 7] = 0x7FC00123
    bits.flat[1 : bits.size // 2 : 7] = 0x80000000
    return bits.view(np.float32)
