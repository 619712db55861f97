"""How kernels are launched on a GPU; a product and a sum fused there would be other bits than the definition's."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from octavo_kernels.triton import jit, rounding
from octavo_kernels.triton.launch import Launch
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend


class Kernel:
    """Writes down how it is launched."""

    def __init__(self) -> None:
        self.launches: list[tuple[tuple[int, ...], dict[str, Any]]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda **arguments: self.launches.append((grid, arguments))


def test_a_launch_says_everything_that_its_plan_says_and_never_fuses():
    kernel, x = Kernel(), torch.zeros(1)
    jit.run(Launch(kernel, (3, 2), {"x": x}, {"BLOCK": 64}, warps=8, stages=3, dependent=True, registers=128))
    ((grid, given),) = kernel.launches
    assert grid == (3, 2)
    options = {"num_warps": 8, "num_stages": 3, "launch_pdl": True, "maxnreg": 128}
    options |= {"enable_fp_fusion": False, "enable_reflect_ftz": False}
    assert given == {"x": x, "BLOCK": 64, **options}
    # Triton ignores no option that it does not know: it fails, but only at the launch.
    known = CUDABackend(GPUTarget("cuda", 90, 32)).parse_options(options)
    assert {name: getattr(known, name) for name in options} == options


def test_a_launch_makes_no_pairs_of_floats_which_ptxas_would_fuse(monkeypatch: pytest.MonkeyPatch):
    for said, then in (("", "nvptx-no-f32x2"), ("disable-lsr", "disable-lsr,nvptx-no-f32x2")):
        monkeypatch.setenv("DISABLE_LLVM_OPT", said)
        rounding.without_pairs.cache_clear()
        jit.run(Launch(Kernel(), (1,), {}))
        assert os.environ["DISABLE_LLVM_OPT"] == then


def test_an_empty_grid_is_not_launched():
    kernel = Kernel()
    jit.run(Launch(kernel, (0, 4), {}))
    assert kernel.launches == []
