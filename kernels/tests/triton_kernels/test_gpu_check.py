"""`make gpu-check` without a GPU: it says so. What it would do there runs here, small, so that it works then."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from conftest import opened
from proofs.conformance import Case, Result, run_case
from proofs.gpu_check import values
from proofs.gpu_check.speed import layers, linears
from proofs.programs.folder import exported


def test_without_a_gpu_the_check_says_so_and_fails():
    command = [sys.executable, "-m", "proofs.gpu_check"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 3
    assert ended.stderr.startswith("gpu-check: nothing was checked: no usable GPU: ")
    assert "OCTAVO_NO_DEVICE" in ended.stderr


def test_a_wrong_kernel_is_found_and_named(monkeypatch: pytest.MonkeyPatch):
    backend, reference = opened("triton-interpreter"), opened("reference")

    def broken(on: object, case: Case) -> Result:
        result = run_case(reference, case)
        if on is backend and result.arrays["y"].size:
            result.arrays["y"][-1, -1] += 1
        return result

    assert [result.wrong for result in values.check_ops(backend, reference, ["add"])] == [[]]
    monkeypatch.setattr(values, "run_case", broken)
    (result,) = values.check_ops(backend, reference, ["add"])
    assert any(text.startswith("add[ordinary]: y") for text in result.wrong)


class HostTimer:
    """Runs everything once, by the machine's clock."""

    def microseconds(self, calls: Sequence[Callable[[], object]], capture: bool = True) -> float:
        began = time.perf_counter()
        for call in calls:
            call()
        return (time.perf_counter() - began) * 1e6


def test_what_is_timed_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("proofs.gpu_check.speed.bitsandbytes_linear", lambda x, n: None)
    monkeypatch.setattr("proofs.gpu_check.speed._LAYER_ROWS", (2,))
    device, program = torch.device("cpu"), exported("tiny-llama-two-layers")
    found = [*linears(program, (1, 3), device, HostTimer(), 0), *layers(program, device, HostTimer())]
    shapes = ["q_proj+k_proj+v_proj 128x64", "o_proj 64x64", "gate_proj+up_proj 224x64", "down_proj 64x112"]
    assert [speed.name for speed in found] == [*(shape for shape in shapes for _ in range(2)), "layer"]
    assert all(speed.octavo > 0 and speed.bfloat16 and speed.bitsandbytes is None for speed in found)
