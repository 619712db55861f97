"""The thread team: whatever else goes on in the process, a step gives the same bits and the program goes on."""

from __future__ import annotations

import os
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from octavo_kernels import open_backend

from .one_op import every_cpu, run, same_bits


def test_subnormals_survive_a_library_that_flushes_them_to_zero():
    x = np.full((3, 33), 1e-40, np.float32)
    expected = {"y": x + x}
    assert torch.set_flush_denormal(True)
    try:
        for backend in every_cpu():
            got = run(backend, "add", {"a": x, "b": x}, {"y": x.shape})
            assert same_bits(got, expected), f"{backend.isa}, {backend.threads} threads"
        assert float(torch.tensor(1e-40) + torch.tensor(1e-40)) == 0, "the caller's own mode was changed"
    finally:
        torch.set_flush_denormal(False)


def test_more_threads_than_cores_or_rows_change_nothing():
    rng = np.random.default_rng(0)
    inputs = {
        "x": rng.standard_normal((3, 70)).astype(np.float32),
        "weight": rng.standard_normal((130, 70)).astype(np.float32),
    }
    expected = run(open_backend("cpu", 1), "linear_float", inputs, {"y": (3, 130)})
    for threads in (2, 9, 33):
        team = open_backend("cpu", threads)
        for _ in range(20):
            assert same_bits(run(team, "linear_float", inputs, {"y": (3, 130)}), expected), f"{threads} threads"


def test_two_backends_of_a_process_run_at_the_same_time():
    x = np.random.default_rng(1).standard_normal((50, 64)).astype(np.float32)

    def steps(threads: int) -> bool:
        backend = open_backend("cpu", threads)
        return all(same_bits(run(backend, "add", {"a": x, "b": x}, {"y": x.shape}), {"y": x + x}) for _ in range(50))

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(steps, (2, 3)))


def test_a_step_without_rows_returns_nothing():
    empty = np.zeros((0, 8), np.float32)
    for backend in every_cpu():
        assert run(backend, "add", {"a": empty, "b": empty}, {"y": empty.shape})["y"].shape == empty.shape


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs to choose the CPU of a process")
def test_a_thread_that_waits_for_one_that_cannot_run_sleeps():
    """Beside busy processes a thread that spins or yields gives its time away, and two threads are slower than one."""
    rng = np.random.default_rng(2)
    x, weight = rng.standard_normal((8, 512)), rng.standard_normal((512, 512))
    inputs = {"x": x.astype(np.float32), "weight": weight.astype(np.float32)}
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # Of two threads one can run.
    try:
        team = open_backend("cpu", 2)
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        for _ in range(50):
            run(team, "linear_float", inputs, {"y": (8, 512)})
        assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before > 10
    finally:
        os.sched_setaffinity(0, cpus)
