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
    """`events`: "in" and "out" for copies, launches, "mark", "wait", and ("graph", launches) where a graph is run."""

    captures = True

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []
        self.allocations = 0
        self.captured: list[list[Launch]] = []

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
        self.events.append("in" if target.is_meta else "out")

    def launch(self, launch: Launch) -> None:
        if 0 not in launch.grid:
            self.events.append(launch)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        before, self.events = self.events, []
        enqueue()
        launches, self.events = self.events, before
        self.captured.append(launches)
        return lambda: self.events.append(("graph", launches))

    def synchronize(self) -> None:
        self.events.append("wait")

    def mark(self) -> int:
        self.events.append("mark")
        return 0


class NoAllocation(TorchDispatchMode):
    """torch makes views and writes to memory that exists; anything that would make memory fails."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema = func._schema
        in_place = schema.is_mutable and all(returned.alias_info is not None for returned in schema.returns)
        view = bool(schema.returns) and all(returned.alias_info is not None for returned in schema.returns)
        if not (in_place or view):
            raise AssertionError(f"{func} makes memory in a step")
        return func(*args, **(kwargs or {}))
