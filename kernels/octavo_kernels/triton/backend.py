"""The backends of the Triton kernels. `cuda` and `triton-interpreter` differ in their device alone (`device.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..backend import Ceiling, DeviceMemory, SourcePart
from ..errors import ErrorCode, KernelError
from ..program.spec import ProgramSpec
from ..tensor import Reserve, Tensor, Tensors, nbytes, unlimited
from ..validate.program import validate
from ..workspace import Workspace
from .device import Device
from .executable import TritonExecutable
from .load import host_load, load
from .mirrors import Mirrors
from .views import flat_bytes, tensor_view
from .workspace import take_workspace

if TYPE_CHECKING:
    from ..cpu.group import Group


class TritonBackend:
    """Its methods: see backend.Backend. `isa`: the one instruction set to ask for, or None."""

    def __init__(self, device: Device, threads: int, isa: str | None = None) -> None:
        self.name, self.isa, self.model, self.threads = device.backend, device.isa, device.model, threads
        self.isas = [self.isa]
        if isa not in (None, self.isa):
            raise KernelError(ErrorCode.BAD_ARGUMENT, f"the {self.name} backend has no instruction set {isa!r}")
        torch.set_num_threads(threads)
        self._device = device
        self.workspace = Workspace(partial(take_workspace, device))
        self._staging = Workspace(device.staging)
        self._mirrors = Mirrors(self.read)
        self._host_load = host_load(threads)

    def allocate(self, dtype: str, layout: str, shape: Sequence[int]) -> Tensor:
        with self._current():
            return Tensor(dtype, layout, tuple(shape), self._device.allocate(nbytes(dtype, layout, tuple(shape))))

    def load(self, form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
        with self._current():
            load(self._host_load, self._put, form, parts, target, scale)

    def read(self, tensor: Tensor) -> np.ndarray:
        with self._current():
            return self._device.get(flat_bytes(tensor_view(tensor)))

    def read_range(self, tensor: Tensor, offset: int, size: int) -> np.ndarray:
        with self._current():
            return self._device.get(tensor.memory[offset : offset + size])

    def write(self, tensor: Tensor, offset: int, size: int, fill: Callable[[np.ndarray], None]) -> None:
        self._mirrors.forget(tensor)
        with self._current():
            target = tensor.memory[offset : offset + size]
            if target.device.type == "cpu":
                fill(target.numpy())
            else:
                content = np.empty(size, np.uint8)
                fill(content)
                self._device.put(target, content)

    def expose(self, tensor: Tensor) -> torch.Tensor:
        self._mirrors.forget(tensor)
        return tensor.memory

    def memory(self) -> DeviceMemory | None:
        return self._device.memory()

    def define(
        self,
        spec: ProgramSpec,
        tensors: Tensors,
        arena: Tensor | None,
        reserve: Reserve = unlimited,
        workspace: int = 0,
        group: Group | None = None,
    ) -> TritonExecutable:
        complete = validate(spec, tensors, 0 if arena is None else arena.memory.numel(), group)
        with self._current():
            executable = TritonExecutable(self._device, self._mirrors, complete, tensors, arena, reserve, group)
            try:
                executable.join(self.workspace, self._staging, workspace)
            except KernelError:
                executable.close()
                raise
        return executable

    def measure(self) -> Ceiling:
        with self._current():
            return self._device.measure()

    def _current(self) -> AbstractContextManager:
        return self._device.current()

    def _put(self, target: Tensor, content: Tensor) -> None:
        """A plain tensor of the machine's memory as the content of one of the device."""
        self._mirrors.forget(target)
        view, rows = tensor_view(target), content.memory[: tensor_view(content).nbytes]
        if view.is_contiguous():
            self._device.put(target.memory[: rows.size], rows)
        else:  # Packed int8 whose rows are padded; the padding is zero since it was allocated.
            plain = self._device.allocate(rows.size)
            self._device.put(plain, rows)
            view.copy_(plain.view(view.dtype).reshape(view.shape))
