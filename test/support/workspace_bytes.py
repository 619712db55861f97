"""Scratch memory of a program, as the backends take it, without one: by threads of the CPU and by GPUs.

usage: workspace_bytes.py FILE...       FILE: the bytes of a `define` message
writes a JSON list of {"cpu": {threads: bytes}, "cuda": {architecture: bytes}}; fails where a GPU's
ops plan for more than that
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from octavo_kernels import Handle, ProgramSpec
from octavo_kernels.cpu.executable import scratch_bytes
from octavo_kernels.program.scratch import scratch_of
from octavo_kernels.tensor import Tensor, nbytes
from octavo_kernels.triton.executable import TritonExecutable
from octavo_kernels.triton.mirrors import Mirrors
from octavo_worker.codec import decode_request
from octavo_worker.definitions import program_spec
from octavo_worker.generated.messages import Define

#: Compute capability -> most streaming multiprocessors of a GPU of it.
GPUS = {80: 108, 86: 84, 89: 142, 90: 132, 100: 160, 120: 188}


def main(files: list[str]) -> None:
    print(json.dumps([workspace_bytes(file) for file in files]))


def workspace_bytes(file: str) -> dict[str, dict[int, int]]:
    message = decode_request(Path(file).read_bytes())
    assert isinstance(message, Define)
    spec = program_spec(message)
    cpu = {threads: scratch_bytes(scratch_of(spec, threads), threads) for threads in (1, 2, 4, 64)}
    return {"cpu": cpu, "cuda": {architecture: gpu_bytes(spec, architecture) for architecture in GPUS}}


def gpu_bytes(spec: ProgramSpec, architecture: int) -> int:
    device: Any = SimpleNamespace(
        architecture=architecture, processors=GPUS[architecture], interpreted=False, current=nullcontext
    )
    mirrors = Mirrors(lambda tensor: np.zeros(tensor.memory.nbytes, np.uint8))
    executable = TritonExecutable(device, mirrors, spec, tensors(spec), None, lambda _: None, None)
    return executable.cut.device_bytes(of_host=False)


def tensors(spec: ProgramSpec) -> dict[int, Tensor]:
    """Without contents."""
    found = {}
    for value in spec.values:
        if isinstance(value.place, Handle):
            shape = tuple(int(size) for size in value.shape)
            memory = torch.empty(nbytes(value.dtype, value.layout, shape), dtype=torch.uint8, device="meta")
            found[value.place.handle] = Tensor(value.dtype, value.layout, shape, memory)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
