"""Compiles one specialization with the tools of the Triton wheel."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tempfile
from pathlib import Path

import triton
from triton import knobs

from . import ptx, sass
from .facts import Facts
from .specialize import Specialization

_TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"


def build(one: Specialization) -> Facts:
    """Raises what `triton.compile` raises. Not for a process in which the interpreter is enabled."""
    if knobs.runtime.interpret:
        raise RuntimeError("kernels cannot be compiled in a process with Triton's interpreter")
    log = io.StringIO()
    with contextlib.redirect_stdout(log), _knobs():
        compiled = triton.compile(one.source, target=one.target, options=one.options)
    code = sass.instructions(_disassemble(compiled.asm["cubin"]))
    text = compiled.asm["ptx"]
    return Facts(
        kernel=one.source.name,
        architecture=int(one.target.arch),
        warps=compiled.metadata.num_warps,
        registers=_number(r"Used (\d+) registers", log.getvalue()),
        spill_stores=_number(r"(\d+) bytes spill stores", log.getvalue()),
        spill_loads=_number(r"(\d+) bytes spill loads", log.getvalue()),
        stack=_number(r"(\d+) bytes stack frame", log.getvalue()),
        shared=compiled.metadata.shared,
        ptx={**ptx.count(text), "fma_written": ptx.fma_written(compiled.asm["llir"])},
        products=ptx.products(text),
        sass=sass.mix(code),
        loops=sass.loops(code),
    )


@contextlib.contextmanager
def _knobs():
    """ptxas tells registers and spills only when it runs: no cache of Triton's, and its log on standard output."""
    with knobs.compilation.scope(), knobs.nvidia.scope():
        knobs.compilation.always_compile = True
        knobs.nvidia.dump_ptxas_log = True
        yield


def _disassemble(cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([_TOOLS / "cuobjdump", "-sass", file.name], capture_output=True, text=True, check=True)
    return done.stdout


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"ptxas said nothing like /{pattern}/:\n{text}")
    return int(found[1])
