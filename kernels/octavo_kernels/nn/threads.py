"""Torch's threads for the C++ library."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch

from ..cpu.backend import CpuBackend

# Asked in this order; each finds the symbols of the OpenMP runtime that torch itself is linked with.
_LIBRARIES = ("libtorch_cpu.so", "libtorch_cpu.dylib")


def open_on_torch_threads() -> CpuBackend:
    """A backend whose steps run on torch's own OpenMP threads, as many as `torch.set_num_threads` says.

    With threads of its own beside them, both pools spin for work after each op and hold the cores that the other
    wants: between products of torch a layer took 2.8 ms in place of 0.16 (2 cores). Where torch has no OpenMP that
    can be found, the backend keeps its own threads.
    """
    backend = CpuBackend(torch.get_num_threads())
    runtime = _openmp()
    if runtime is not None:
        backend.borrow_threads(*runtime)
    return backend


def _openmp() -> tuple[int, int] | None:
    """Addresses of GOMP_parallel and omp_get_num_threads in torch's runtime; LLVM's and Intel's have both as well."""
    for name in _LIBRARIES:
        path = Path(torch.__file__).parent / "lib" / name
        if not path.exists():
            continue
        try:
            library = ctypes.CDLL(str(path))
            return _address(library.GOMP_parallel), _address(library.omp_get_num_threads)
        except (OSError, AttributeError):
            continue
    return None


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
