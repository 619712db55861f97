"""The types, alignments and constants that Triton's JIT would derive for a launch: what decides the machine code."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import triton
from octavo_kernels.triton import rounding
from octavo_kernels.triton.launch import Launch
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import ASTSource, make_backend
from triton.experimental.gluon._runtime import GluonASTSource
from triton.runtime.jit import create_function_from_signature


@dataclass(frozen=True)
class Specialization:
    """One compilation. `options` is what `triton.compile` takes; `key` names it over all sources it comes from."""

    source: Any
    target: GPUTarget
    options: dict[str, Any]
    key: str


def specialize(launch: Launch, architecture: int) -> Specialization:
    """Goes the JIT's own way (`JITFunction.run`) without its driver; no memory behind tensors is needed."""
    kernel = launch.kernel
    target = GPUTarget("cuda", architecture, 32)
    backend = make_backend(target)
    options = {
        "num_warps": launch.warps,
        "num_stages": launch.stages,
        "maxnreg": launch.registers,
        "launch_pdl": launch.dependent,
        **rounding.OPTIONS,
    }
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, found, _ = bind(**launch.arguments, **launch.constants)
    parsed, signature, constants, attributes = kernel._pack_args(backend, options, bound, found, options)
    make = GluonASTSource if kernel.is_gluon() else ASTSource
    source = make(kernel, signature, constants, attributes)
    told = rounding.without_pairs() if architecture >= 100 else ""
    identity = f"{told}{triton.__version__} {architecture} {source.hash()} {parsed.hash()} {_reading()}"
    return Specialization(source, target, options, hashlib.sha256(identity.encode()).hexdigest()[:24])


@cache
def _reading() -> str:
    """What reads the compiler's output: another reading is another fact."""
    files = [Path(__file__).with_name(name) for name in ("build.py", "ptx.py", "sass.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
