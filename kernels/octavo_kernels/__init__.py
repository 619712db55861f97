"""Octavo's ops, defined once (`generated/ops.py`) and implemented by backends.

`reference` is plain torch, readable and slow: the oracle. `cpu` is C++ and needs no torch.
"""

from __future__ import annotations

from .backend import Backend, Ceiling, Counters, Executable, SourcePart
from .errors import KernelError
from .program import Arena, Columns, Handle, Input, Operation, ProgramSpec, Value
from .tensor import Tensor, nbytes

__version__ = "0.1.0"

BACKENDS = ("cpu", "reference", "triton-interpreter")


def open_backend(name: str, threads: int, isa: str | None = None) -> Backend:
    """A backend by name, with a team of `threads`.

    `isa` forces an instruction set of `cpu` (scalar, avx2, avx512, neon, dotprod); the best one is the default.
    Raises KernelError OCTAVO_BAD_ARGUMENT, OCTAVO_MISSING_DEPENDENCY.
    """
    if threads < 1:
        raise KernelError("OCTAVO_BAD_ARGUMENT", f"threads must be at least 1, got {threads}")
    if name == "cpu":
        from .cpu.backend import CpuBackend

        return CpuBackend(threads, isa)
    if name == "reference":
        try:
            from .reference.backend import ReferenceBackend
        except ImportError as error:
            text = f"the reference backend needs torch ({error}); install octavo-worker[torch]"
            raise KernelError("OCTAVO_MISSING_DEPENDENCY", text) from error
        return ReferenceBackend(threads, isa)
    if name == "triton-interpreter":
        try:
            from .triton.device import InterpreterDevice

            # Before the backend is imported: Triton decides when kernels are imported whether it interprets them.
            device = InterpreterDevice()
            from .triton.backend import TritonBackend
        except ImportError as error:
            text = f"the {name} backend needs torch and triton ({error}); install octavo-worker[torch]"
            raise KernelError("OCTAVO_MISSING_DEPENDENCY", text) from error
        return TritonBackend(device, threads, isa)
    raise KernelError("OCTAVO_BAD_ARGUMENT", f"no backend {name!r}; there are {', '.join(BACKENDS)}")


__all__ = [
    "BACKENDS",
    "Arena",
    "Backend",
    "Ceiling",
    "Columns",
    "Counters",
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
]
