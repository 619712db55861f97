"""A device that computes nothing and writes down what the executor asks of it. A test's tool.

Its memory has no contents ("meta"), so any look at data fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from octavo_kernels.triton.device import InterpreterDevice
from octavo_kernels.triton.launch import Launch
from torch.utils._python_dispatch import TorchDispatchMode


class RecordingDevice(InterpreterDevice):
    """`events`: "in" and "out" for copies, "move" within the device, "clear", launches, "mark", "wait", and
    ("graph", its events) where a graph is run."""

    captures, of_host = True, False

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []
        self.allocations = 0
        self.captured: list[list[Any]] = []

    def allocate(self, size: int) -> torch.Tensor:
        self.allocations += 1
        return torch.empty(size, dtype=torch.uint8, device="meta")

    def put(self, target: torch.Tensor, content: np.ndarray) -> None:
        pass

    def get(self, source: torch.Tensor) -> np.ndarray:
        self.events.append("wait")
        return np.zeros(source.numel(), np.uint8)

    def staging(self, size: int) -> torch.Tensor:
        self.allocations += 1
        return torch.zeros(size, dtype=torch.uint8)

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        self.events.append("out" if not target.is_meta else "move" if source.is_meta else "in")

    def clear(self, target: torch.Tensor) -> None:
        self.events.append("clear")

    def launch(self, launch: Launch) -> None:
        if 0 not in launch.grid:
            self.events.append(launch)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        before, self.events = self.events, []
        enqueue()
        graph, self.events = self.events, before
        self.captured.append(graph)
        return lambda: self.events.append(("graph", graph))

    def synchronize(self) -> None:
        self.events.append("wait")

    def mark(self) -> int:
        self.events.append("mark")
        return 0


class NoAllocation(TorchDispatchMode):
    """On the device torch makes views and writes to memory that exists; anything that would make memory fails."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        returned = func._schema.returns
        known = bool(returned) and all(result.alias_info is not None for result in returned)
        if not known and any(isinstance(x, torch.Tensor) and x.is_meta for x in (made, *args)):
            raise AssertionError(f"{func} makes memory of the device, or looks at it, in a step")
        return made
