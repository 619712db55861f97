"""The seam between the executor and what it runs on: a GPU (`cuda.py`), or Triton's interpreter (here)."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch

from ..backend import Ceiling, DeviceMemory
from ..errors import ErrorCode, KernelError
from ..tensor import aligned_bytes
from . import interpreter
from .launch import Launch


class Device(Protocol):
    """Work is enqueued in order; what is enqueued may run later than the call returns, until `synchronize`."""

    #: Names of the backend, of the architecture as `isa`, and of the device.
    backend: str
    isa: str
    model: str
    #: Compute capability (90), and number of streaming multiprocessors: what plans choose by.
    architecture: int
    processors: int
    #: Kernels run in Triton's interpreter.
    interpreted: bool
    #: Whether programs are captured: a GPU takes a graph of launches faster than the launches.
    captures: bool
    #: Whether its memory is the host's.
    of_host: bool

    def current(self) -> AbstractContextManager:
        """Everything else is called inside of this."""
        ...

    def allocate(self, size: int) -> torch.Tensor:
        """Zeroed uint8 on the device, 64-byte aligned. Raises KernelError OCTAVO_OUT_OF_MEMORY."""
        ...

    def put(self, target: torch.Tensor, content: np.ndarray) -> None:
        """Copy host bytes to the device; `content` may change when this returns."""

    def get(self, source: torch.Tensor) -> np.ndarray:
        """A copy of device bytes; waits for everything before it."""
        ...

    def staging(self, size: int) -> torch.Tensor:
        """uint8 of the host, from and to which `copy` does not block. Raises KernelError OCTAVO_OUT_OF_MEMORY."""
        ...

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Enqueue a copy within the device, or between it and staging memory."""

    def clear(self, target: torch.Tensor) -> None:
        """Enqueue zeros."""

    def launch(self, launch: Launch) -> None:
        """Enqueue a kernel; nothing for an empty grid."""

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """What `enqueue` enqueues, as a graph that the returned function enqueues. Nothing runs now."""
        ...

    def synchronize(self) -> None:
        """Return when everything has run."""

    def mark(self) -> Any:
        """A point in the order of work."""
        ...

    def nanoseconds(self, start: Any, end: Any) -> int:
        """Between two marks, after `synchronize`."""
        ...

    def memory(self) -> DeviceMemory | None:
        """See backend.Backend."""
        ...

    def measure(self) -> Ceiling:
        """See backend.Backend."""
        ...


class InterpreterDevice:
    """CPU tensors; every launch has run when the call returns."""

    backend, isa, model = "triton-interpreter", "triton", "Triton interpreter"
    # It runs what an H100 would run.
    architecture, processors = 90, 132
    interpreted, captures, of_host = True, False, True

    def __init__(self) -> None:
        interpreter.enable()

    def current(self) -> AbstractContextManager:
        return nullcontext()

    def allocate(self, size: int) -> torch.Tensor:
        return torch.from_numpy(aligned_bytes(size, huge=False))

    def put(self, target: torch.Tensor, content: np.ndarray) -> None:
        target.copy_(torch.from_numpy(content))

    def get(self, source: torch.Tensor) -> np.ndarray:
        return source.clone().numpy()

    def staging(self, size: int) -> torch.Tensor:
        return self.allocate(size)

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        target.copy_(source)

    def clear(self, target: torch.Tensor) -> None:
        target.zero_()

    def launch(self, launch: Launch) -> None:
        interpreter.run(launch)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        return enqueue

    def synchronize(self) -> None:
        pass

    def mark(self) -> int:
        return time.perf_counter_ns()

    def nanoseconds(self, start: int, end: int) -> int:
        return end - start

    def memory(self) -> DeviceMemory | None:
        return None

    def measure(self) -> Ceiling:
        raise KernelError(ErrorCode.BAD_ARGUMENT, "the interpreter is not made for speed: measure cuda or cpu")
