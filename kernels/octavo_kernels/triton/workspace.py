"""Scratch memory and tickets of a program's ops: measured when it is defined, so that no step allocates."""

from __future__ import annotations

import math

import torch

from .device import Device
from .launch import Context

# Where torch's allocator starts blocks too: enough for any vector copy and for TMA.
_ALIGNMENT = 256


class Measure:
    """A launch.Context whose memory has no contents ("meta"); counts what the ops that were planned with it need."""

    def __init__(self, device: Device) -> None:
        self.architecture, self.processors = device.architecture, device.processors
        self.interpreted = device.interpreted
        self.counters = torch.empty(2, dtype=torch.int64, device="meta")
        #: Most bytes and tickets that one op took.
        self.bytes, self.count = 0, 0
        self._taken, self._tickets = 0, 0

    def begin(self) -> None:
        """The next op."""
        self._taken, self._tickets = 0, 0

    def scratch(self, dtype: torch.dtype, *shape: int) -> torch.Tensor:
        self._taken += _padded(math.prod(shape) * dtype.itemsize)
        self.bytes = max(self.bytes, self._taken)
        return torch.empty(shape, dtype=dtype, device="meta")

    def tickets(self, count: int) -> torch.Tensor:
        self._tickets += count
        self.count = max(self.count, self._tickets)
        return torch.empty(count, dtype=torch.int32, device="meta")


class Workspace(Context):
    """A launch.Context over memory of a device. Ops run one after the other, so all have the same."""

    def __init__(self, device: Device, measured: Measure) -> None:
        self.architecture, self.processors = device.architecture, device.processors
        self.interpreted = device.interpreted
        self._memory = device.allocate(max(measured.bytes, _ALIGNMENT))
        self._memory.fill_(0xFF)  # Scratch may hold anything; NaN shows what should not have been read.
        self._zeros = device.allocate(max(4 * measured.count, _ALIGNMENT)).view(torch.int32)
        self._taken, self._tickets = 0, 0

    def begin(self, counters: torch.Tensor) -> None:
        """The next op; `counters` are its own."""
        self.counters = counters
        self._taken, self._tickets = 0, 0

    def scratch(self, dtype: torch.dtype, *shape: int) -> torch.Tensor:
        size = math.prod(shape) * dtype.itemsize
        start, self._taken = self._taken, self._taken + _padded(size)
        self._require(self._taken <= self._memory.numel(), "scratch memory")
        return self._memory[start : start + size].view(dtype).reshape(shape)

    def tickets(self, count: int) -> torch.Tensor:
        start, self._tickets = self._tickets, self._tickets + count
        self._require(self._tickets <= self._zeros.numel(), "tickets")
        return self._zeros[start : start + count]

    def _require(self, enough: bool, what: str) -> None:
        if not enough:  # A plan that asks for more at other sizes of the same capacity, or looks at data.
            raise RuntimeError(f"an op plans for more {what} than it did when the program was defined")


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
