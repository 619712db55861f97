"""The reference backend: see backend.Backend."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..backend import Ceiling, SourcePart
from ..errors import ErrorCode, KernelError
from ..host import HostMemory
from ..program.spec import ProgramSpec
from ..tensor import Reserve, Tensor, Tensors, aligned_bytes, unlimited
from ..validate.program import validate
from ..workspace import Workspace
from .executable import ReferenceExecutable, row_major_bytes
from .load import load
from .views import tensor_view

if TYPE_CHECKING:
    from ..cpu.group import Group


class ReferenceBackend(HostMemory):
    """Plain torch on the CPU, by the definitions. Its methods: see backend.Backend."""

    name = "reference"
    isa = "torch"

    def __init__(self, threads: int, isa: str | None = None) -> None:
        if isa not in (None, self.isa):
            raise KernelError(ErrorCode.BAD_ARGUMENT, f"the reference backend has no instruction set {isa!r}")
        self.isas = [self.isa]
        self.threads = threads
        #: Stays empty: each op makes the tensors that it needs and drops them, in memory that torch takes and keeps.
        self.workspace = Workspace(aligned_bytes)
        self.model = platform.processor() or platform.machine()
        torch.set_num_threads(threads)

    def load(self, form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
        load(form, parts, target, scale)

    def read(self, tensor: Tensor) -> np.ndarray:
        return row_major_bytes(tensor_view(tensor)).copy()

    def define(
        self,
        spec: ProgramSpec,
        tensors: Tensors,
        arena: Tensor | None,
        reserve: Reserve = unlimited,
        workspace: int = 0,
        group: Group | None = None,
    ) -> ReferenceExecutable:
        complete = validate(spec, tensors, 0 if arena is None else arena.memory.size, group)
        return ReferenceExecutable(complete, tensors, arena, reserve, group)

    def measure(self) -> Ceiling:
        raise KernelError(
            ErrorCode.BAD_ARGUMENT, "the reference backend is not made for speed: measure the cpu backend"
        )
