"""The backends of the Triton kernels: see backend.Backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from . import interpreter

interpreter.enable()

from ..backend import Ceiling, SourcePart  # noqa: E402
from ..errors import KernelError  # noqa: E402
from ..program import ProgramSpec  # noqa: E402
from ..tensor import PACKED_COLUMNS, Tensor, allocate, round_up  # noqa: E402
from ..validate import validate  # noqa: E402
from .executable import TritonExecutable  # noqa: E402


class InterpreterBackend:
    """The kernels and the executor of the CUDA backend, on CPU tensors in Triton's interpreter."""

    name = "triton-interpreter"
    isa = "triton"

    def __init__(self, threads: int, isa: str | None = None) -> None:
        if isa not in (None, self.isa):
            raise KernelError("OCTAVO_BAD_ARGUMENT", f"the {self.name} backend has no instruction set {isa!r}")
        self.isas = [self.isa]
        self.threads = threads
        self.model = "Triton interpreter"
        torch.set_num_threads(threads)

    def allocate(self, dtype: str, layout: str, shape: Sequence[int]) -> Tensor:
        """See backend.Backend."""
        return allocate(dtype, layout, tuple(shape))

    def load(self, form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
        """See backend.Backend."""
        from ..reference.load import load

        if target.layout != "packed" or target.dtype != "int8":
            load(form, parts, target, scale)
            return
        rows, columns = target.shape
        plain = allocate("int8", "plain", target.shape)
        load(form, parts, plain, scale)
        pitch = round_up(columns, PACKED_COLUMNS)
        packed = target.memory[: rows * pitch].reshape(rows, pitch)
        packed[:, :columns] = plain.memory[: rows * columns].reshape(rows, columns)
        packed[:, columns:] = 0

    def read(self, tensor: Tensor) -> np.ndarray:
        """See backend.Backend."""
        from .executable import _bytes, _view

        return _bytes(_view(tensor.memory, tensor.dtype, tensor.layout, tensor.shape)).copy()

    def define(self, spec: ProgramSpec, tensors: Mapping[int, Tensor], arena: Tensor | None) -> TritonExecutable:
        """See backend.Backend."""
        complete = validate(spec, tensors, 0 if arena is None else arena.memory.size)
        return TritonExecutable(complete, tensors, arena)

    def measure(self) -> Ceiling:
        """See backend.Backend."""
        raise KernelError("OCTAVO_BAD_ARGUMENT", "the interpreter is not made for speed: measure cuda or cpu")
