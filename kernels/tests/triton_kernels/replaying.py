"""The interpreter with captures: a graph is a list of what was enqueued, run in order. A test's tool."""

from __future__ import annotations

from collections.abc import Callable

import torch
from octavo_kernels.triton.device import InterpreterDevice
from octavo_kernels.triton.launch import Launch


class ReplayingDevice(InterpreterDevice):
    """Like a GPU it runs nothing while it captures, and later the same work on the same memory."""

    captures = True

    def __init__(self) -> None:
        super().__init__()
        self.replays = 0
        self._recorded: list[Callable[[], None]] | None = None

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        run = super().copy
        self._do(lambda: run(target, source))

    def clear(self, target: torch.Tensor) -> None:
        run = super().clear
        self._do(lambda: run(target))

    def launch(self, launch: Launch) -> None:
        run = super().launch
        self._do(lambda: run(launch))

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        recorded = self._recorded = []
        enqueue()
        self._recorded = None

        def replay() -> None:
            self.replays += 1
            for work in recorded:
                work()

        return replay

    def _do(self, work: Callable[[], None]) -> None:
        if self._recorded is None:
            work()
        else:
            self._recorded.append(work)
