"""Torch's threads under our kernels: whatever the pool has to give, and after a fork."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import torch
from octavo_kernels.cpu.backend import CpuBackend
from octavo_kernels.nn import Int8Linear
from octavo_kernels.nn.engine_programs import exact
from octavo_kernels.nn.packing import pack
from octavo_kernels.nn.threads import open_on_torch_threads
from octavo_kernels.nn.threshold import dial
from octavo_kernels.tensor import allocate
from torch import nn

BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
PARALLEL = ctypes.CFUNCTYPE(None, BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
COUNT = ctypes.CFUNCTYPE(ctypes.c_int)


def run(backend: CpuBackend, layer: Int8Linear, x: torch.Tensor) -> list[torch.Tensor]:
    """Three steps of one program."""
    program = exact(layer.out_features, layer.in_features, False, dial(6.0), 64)
    scale = allocate("float32", "plain", (layer.out_features,))
    scale.memory[: 4 * layer.out_features].view("float32")[:] = layer.SCB.numpy()
    arena = allocate("int8", "plain", (program.arena_bytes,))
    program.define(backend, {"weight": pack(layer.weight), "scale": scale}, arena)
    return [program.run([x])[0] for _ in range(3)]


def test_a_pool_may_give_fewer_threads_than_asked_for():
    """Inside another parallel region OpenMP gives one. Waiting for the others would be for ever."""
    torch.manual_seed(0)
    layer, x = Int8Linear.from_linear(nn.Linear(64, 200, bias=False), threshold=6.0), torch.randn(40, 64)
    expected = layer(x)
    asked = []

    def parallel(body, data: int, threads: int, flags: int) -> None:
        asked.append(threads)
        body(data)

    pool = PARALLEL(parallel), COUNT(lambda: 1)
    backend = CpuBackend(4)
    backend.borrow_threads(*(ctypes.cast(function, ctypes.c_void_p).value or 0 for function in pool))
    assert all(torch.equal(y, expected) for y in run(backend, layer, x))
    assert asked == [4, 4, 4]
    backend.close()


def test_steps_run_on_the_threads_that_torch_has():
    """No threads of our own beside torch's: two pools that spin for work take each other's cores."""
    torch.manual_seed(0)
    layer, x = Int8Linear.from_linear(nn.Linear(64, 200, bias=False), threshold=6.0), torch.randn(40, 64)
    program = """
import os, torch
from octavo_kernels.nn import Int8Linear
torch.set_num_threads(3)
layer, x, z = Int8Linear(64, 200), torch.randn(40, 64), torch.randn(400, 400)
layer(x)
z @ z
for _ in range(3): layer(x)
before = len(os.listdir("/proc/self/task"))
z @ z, layer(x)
assert len(os.listdir("/proc/self/task")) == before
torch.set_num_threads(1)
torch.set_num_threads(3)
layer(x)
assert len(os.listdir("/proc/self/task")) <= before
"""
    if sys.platform == "linux":
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    backend = open_on_torch_threads()
    assert backend.threads == torch.get_num_threads()
    assert all(torch.equal(y, layer(x)) for y in run(backend, layer, x))
    backend.close()


def test_a_forked_child_computes():
    """Data loaders and servers fork; the child has the memory of the parent and none of its threads."""
    program = """
import os, torch
from octavo_kernels.nn import Int8Linear
torch.set_num_threads(2)
layer, x = Int8Linear.from_linear(torch.nn.Linear(64, 200)), torch.randn(40, 64)
expected = layer(x)
child = os.fork()
if child == 0:
    torch.set_num_threads(1)  # as torch's data loaders do: OpenMP itself does not survive a fork
    os._exit(0 if torch.equal(layer(x), expected) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert torch.equal(layer(x), expected)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
