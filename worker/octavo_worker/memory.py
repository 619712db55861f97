"""What this worker takes of memory: asked for before it is taken, and counted after."""

from __future__ import annotations

from typing import Any

import numpy as np
from octavo_kernels import Backend, ErrorCode, KernelError
from octavo_kernels.tensor import PAGES_FROM

from . import machine
from .tensors import Handles

# Whenever this much has been asked for, it is held against the memory that is really there: Linux promises more than it
# has, and then kills the process. A GPU's driver refuses.
_CHECK_FROM = 64 << 20


class WorkerMemory:
    """Of the tensors behind the handles and of the backend's workspace."""

    def __init__(self, backend: Backend, handles: Handles) -> None:
        self._backend, self._handles = backend, handles
        self._in_machine = backend.memory() is None
        self._anonymous_before = machine.process_memory().anonymous
        self._unchecked = 0

    @property
    def given(self) -> int:
        """Bytes of handles and workspace."""
        return self._handles.bytes + self._backend.workspace.bytes

    def reserve(self, wanted: int) -> None:
        """Raise OCTAVO_OUT_OF_MEMORY unless `wanted` more bytes are there, beside what was given and not yet used."""
        self._unchecked += wanted
        if self._unchecked < _CHECK_FROM or not self._in_machine:
            return
        self._unchecked = 0
        mapped = sum(group.bytes for group in self._handles.groups.values())  # shared, and none of what was given
        used = machine.process_memory().anonymous - self._anonymous_before - mapped
        available = max(0, machine.memory_available() - max(0, self.given - used))
        if wanted > available:
            raise KernelError(ErrorCode.OUT_OF_MEMORY, f"{wanted} bytes wanted, {available} available")

    def resident(self) -> int:
        """Of what was given, the bytes that the system has given: pages that nobody has touched yet are not there."""
        if not self._in_machine:
            return self.given
        workspace, paged = self._backend.workspace, [tensor.memory for tensor in self._handles.paged.values()]
        if workspace.bytes >= PAGES_FROM:
            paged.append(workspace.memory)
        return self.given + sum(machine.resident_bytes(*_mapped(memory)) - memory.nbytes for memory in paged)

    def described(self) -> dict[str, int]:
        """The fields of a device's description that count bytes."""
        device = self._backend.memory()
        if device is not None:
            total, available, baseline = device.total, device.total - device.used, device.context
        else:
            total, available = machine.memory_total(), machine.memory_available()
            baseline = machine.process_memory().resident
        return {"memoryTotal": total, "memoryAvailable": available, "baseline": baseline}


def _mapped(memory: Any) -> tuple[int, int]:
    """First address and bytes of what the system was asked for: with the ends of huge pages, which a tensor does not
    use but takes."""
    if not isinstance(memory, np.ndarray):  # torch's, of the machine's memory
        return memory.data_ptr(), memory.nbytes
    whole = memory.base if isinstance(memory.base, np.ndarray) else memory
    return whole.ctypes.data, whole.nbytes
