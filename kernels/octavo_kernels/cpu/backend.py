"""The CPU backend: see backend.Backend."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence

import numpy as np

from ..backend import Ceiling, SourcePart
from ..errors import ErrorCode, KernelError
from ..generated import environment
from ..host import HostMemory
from ..program.scratch import scratch_of
from ..program.spec import ProgramSpec
from ..tensor import Reserve, Tensor, Tensors, aligned_bytes, unlimited
from ..validate.program import validate
from ..workspace import Workspace
from .executable import CpuExecutable, scratch_bytes
from .group import Group
from .library import CeilingStruct, available_isas, load_library
from .load import load, read


class CpuBackend(HostMemory):
    """Our own C++ kernels; bits do not depend on the instruction set or the number of threads.

    Methods without a text of their own: see backend.Backend."""

    name = "cpu"

    def __init__(self, threads: int, isa: str | None = None) -> None:
        self._library = load_library()
        self.isas = available_isas()
        for former, now in environment.RENAMED.items():
            if os.environ.get(former):
                raise KernelError(ErrorCode.BAD_ARGUMENT, f"the environment variable {former} is now {now}")
        self.isa = isa or os.environ.get(environment.ISA) or self.isas[-1]
        if self.isa not in self.isas:
            text = f"this machine cannot run the instruction set {self.isa!r}; it has {', '.join(self.isas)}"
            raise KernelError(ErrorCode.BAD_ARGUMENT, text)
        self.threads = threads
        self.workspace = Workspace(lambda size: aligned_bytes(size, huge=False))
        self.model = _processor()
        self._context = self._library.octavo_open(self.isa.encode(), threads)
        if not self._context:
            raise KernelError(ErrorCode.OUT_OF_MEMORY, f"could not start {threads} threads")

    def borrow_threads(self, parallel: int, thread_count: int) -> None:
        """Steps run on OpenMP's threads from now on, as many as before: of the runtime whose GOMP_parallel and
        omp_get_num_threads are at these addresses. For a process whose other work has such threads; not while a step
        runs.
        """
        self._library.octavo_borrow_threads(self._context, parallel, thread_count)

    def load(self, form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
        load(form, parts, target, scale, isa=self.isa, threads=self.threads)

    def read(self, tensor: Tensor) -> np.ndarray:
        return read(tensor)

    def define(
        self,
        spec: ProgramSpec,
        tensors: Tensors,
        arena: Tensor | None,
        reserve: Reserve = unlimited,
        workspace: int = 0,
        group: Group | None = None,
    ) -> CpuExecutable:
        if self._context is None:
            raise KernelError(ErrorCode.DISPOSED, "define: the backend was closed")
        complete = validate(spec, tensors, 0 if arena is None else arena.memory.size, group)
        scratch = scratch_of(complete, self.threads)
        executable = CpuExecutable(
            self._library, self._context, complete, tensors, arena, scratch.thread, reserve, group
        )
        executable.join(self.workspace, max(workspace, scratch_bytes(scratch, self.threads)))
        return executable

    def measure(self) -> Ceiling:
        found = CeilingStruct()
        self._library.octavo_measure(self._context, ctypes.byref(found))
        if not found.read_bytes:
            raise KernelError(ErrorCode.OUT_OF_MEMORY, "no memory to measure with")
        return Ceiling(found.read_bytes, found.int8_operations, found.float32_operations)

    def close(self) -> None:
        """End the threads. Programs of this backend must be closed before."""
        if self._context:
            self._library.octavo_close(self._context)
            self._context = None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
