"""Scratch memory and tickets of a program's ops, and how a program cuts the workspace: no step allocates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

import torch

from ..generated.workspace import TICKET_BYTES
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


@dataclass(frozen=True)
class Cut:
    """A program's parts of the workspace, one after the other: tickets, scratch, inputs, outputs. The host has its own
    inputs and outputs, behind these where a device's memory is the host's. Sizes in bytes."""

    scratch: int
    inputs: int
    outputs: int

    def device_bytes(self, of_host: bool) -> int:
        blocks = self.host_bytes
        return TICKET_BYTES + _padded(self.scratch) + (2 * blocks if of_host else blocks)

    @property
    def host_bytes(self) -> int:
        return _padded(self.inputs) + _padded(self.outputs)

    def device(self, memory: torch.Tensor) -> list[torch.Tensor]:
        """Tickets (int32), scratch, inputs, outputs."""
        tickets, *others = _parts(memory, TICKET_BYTES, self.scratch, self.inputs, self.outputs)
        return [tickets.view(torch.int32), *others]

    def host(self, memory: torch.Tensor, of_host: bool) -> list[torch.Tensor]:
        """Inputs, outputs."""
        return _parts(memory[self.device_bytes(False) if of_host else 0 :], self.inputs, self.outputs)


class StepContext(Context):
    """A launch.Context over memory of a device. Ops run one after the other, so all have the same."""

    def __init__(self, device: Device, tickets: torch.Tensor, scratch: torch.Tensor) -> None:
        self.architecture, self.processors = device.architecture, device.processors
        self.interpreted = device.interpreted
        self._memory, self._zeros = scratch, tickets
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


def take_workspace(device: Device, size: int) -> torch.Tensor:
    """Zero tickets, and NaN behind them: scratch may hold anything, and this shows what should not have been read."""
    memory = device.allocate(size)
    memory[TICKET_BYTES:].fill_(0xFF)
    return memory


def _parts(memory: torch.Tensor, *sizes: int) -> list[torch.Tensor]:
    starts = accumulate((_padded(size) for size in sizes), initial=0)
    return [memory[start : start + size] for start, size in zip(starts, sizes, strict=False)]


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
