"""Octavo's ops, defined once (`generated/ops.py`) and implemented by backends.

`reference` is plain torch, readable and slow: the oracle. `cpu` is C++ and needs no torch. `cuda` is Triton, and
`triton-interpreter` the same without a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .backend import Backend, Ceiling, Counters, Executable, SourcePart
from .errors import ErrorCode, KernelError, without_torch
from .program.spec import Arena, Columns, Handle, Input, Operation, ProgramSpec, Value
from .tensor import Tensor, nbytes

if TYPE_CHECKING:
    import numpy as np

    from .cpu.group import Group
    from .triton.device import Device

__version__ = "0.1.0"

BACKENDS = ("cpu", "reference", "cuda", "triton-interpreter")


def open_backend(name: str, threads: int, isa: str | None = None, index: int = 0) -> Backend:
    """A backend by name, with a team of `threads`.

    `isa` forces an instruction set of `cpu` (scalar, avx2, avx512, amx, neon, dotprod); the best one is the default.
    `index`: which GPU of `cuda`. A process that opens `triton-interpreter` cannot open `cuda`, nor the other way round.
    Raises KernelError OCTAVO_BAD_ARGUMENT, OCTAVO_MISSING_DEPENDENCY, OCTAVO_NO_DEVICE.
    """
    if threads < 1:
        raise KernelError(ErrorCode.BAD_ARGUMENT, f"threads must be at least 1, got {threads}")
    if name == "cpu":
        from .cpu.backend import CpuBackend

        return CpuBackend(threads, isa)
    if name not in BACKENDS:
        raise KernelError(ErrorCode.BAD_ARGUMENT, f"no backend {name!r}; there are {', '.join(BACKENDS)}")
    try:
        if name == "reference":
            from .reference.backend import ReferenceBackend

            return ReferenceBackend(threads, isa)
        from .triton.backend import TritonBackend

        return TritonBackend(_triton_device(name, index), threads, isa)
    except ImportError as error:
        needs = "torch" if name == "reference" else "torch and triton"
        raise without_torch(f"the {name} backend needs {needs}", error) from error


def open_group(memory: np.ndarray, rank: int, ranks: int, deadline_ms: int, stages: int = 1) -> Group:
    """This process as a rank of a group, for programs of any backend: see cpu.group.Group."""
    from .cpu.group import Group

    return Group(memory, rank, ranks, deadline_ms, stages)


def _triton_device(name: str, index: int) -> Device:
    if name == "cuda":
        from .triton.cuda import CudaDevice

        return CudaDevice(index)
    from .triton.device import InterpreterDevice

    return InterpreterDevice()


__all__ = [
    "BACKENDS",
    "Arena",
    "Backend",
    "Ceiling",
    "Columns",
    "Counters",
    "ErrorCode",
    "Executable",
    "Handle",
    "Input",
    "KernelError",
    "Operation",
    "ProgramSpec",
    "SourcePart",
    "Tensor",
    "Value",
    "nbytes",
    "open_backend",
    "open_group",
]
