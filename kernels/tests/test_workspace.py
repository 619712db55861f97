"""All programs of a device share their scratch memory. If these fail, a program that is defined later breaks the
answers of one that was there, or memory is never given back."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from octavo_kernels import (
    Backend,
    ErrorCode,
    Executable,
    Handle,
    Input,
    KernelError,
    Operation,
    ProgramSpec,
    Tensor,
    Value,
    open_backend,
)
from octavo_kernels.generated.ops import SIZES
from octavo_kernels.tensor import Reserve, unlimited

ROWS = 3


@pytest.fixture(params=["cpu", "triton-interpreter"])
def device(request: pytest.FixtureRequest) -> Backend:
    return open_backend(request.param, 2)


def define(backend: Backend, columns: int, reserve: Reserve = unlimited, at_least: int = 0) -> Executable:
    """A norm of what a step brings, as digits."""
    values = (
        Value("float32", "plain", (ROWS, columns), Input()),
        Value("float32", "plain", (columns,), Handle(1)),
        *(Value(dtype, "plain", shape, Handle(2 + index)) for index, (dtype, shape) in enumerate(_digits(columns))),
    )
    inputs, outputs = {"x": 0, "weight": 1}, {"low": 2, "high": 3, "carries": 4, "step": 5}
    attributes = {"kind": "rms", "eps": 1e-5, "unitOffset": False, "decompose": "all", "absolute": 0.0, "relative": 0.0}
    spec = ProgramSpec(
        values=values,
        ops=(Operation("norm_quantize", inputs, outputs, attributes),),
        inputs=(0,),
        outputs=(2, 5),
        limits=dict.fromkeys(SIZES, 0),
    )
    tensors: dict[int, Tensor] = {
        value.place.handle: backend.allocate(value.dtype, "plain", [int(size) for size in value.shape])
        for value in values
        if isinstance(value.place, Handle)
    }
    backend.write(tensors[1], 0, 4 * columns, lambda memory: memory.view(np.float32).fill(0.5))
    return backend.define(spec, tensors, None, reserve, at_least)


def _digits(columns: int) -> list[tuple[str, tuple[int, ...]]]:
    padded = -(-columns // 64) * 64
    words = 4 + padded // 4 + padded - columns
    return [("int8", (ROWS, padded)), ("int8", (ROWS, padded)), ("int32", (ROWS, words)), ("float32", (ROWS,))]


def step(program: Executable, columns: int) -> bytes:
    x = np.random.default_rng(1).standard_normal((ROWS, columns)).astype(np.float32)
    return program.step(dict.fromkeys(SIZES, 0), memoryview(x).cast("B"))[0].tobytes()


def test_a_program_goes_on_when_a_later_one_makes_the_workspace_larger(device: Backend):
    small = define(device, 64)
    before, size = step(small, 64), device.workspace.bytes
    large = define(device, 9000)
    assert device.workspace.bytes > size
    assert (step(large, 9000), step(small, 64), step(small, 64)) == (step(large, 9000), before, before)
    large.close()
    grown = device.workspace.bytes
    assert (step(small, 64), grown > size) == (before, True)
    small.close()
    assert (device.workspace.bytes, device.workspace.memory) == (0, None)


def test_what_is_foreseen_is_taken_at_once_and_no_more_for_programs_within(device: Backend):
    asked: list[int] = []
    programs = [define(device, 64, asked.append, 1 << 20), define(device, 128, asked.append)]
    assert (device.workspace.bytes, asked) == (1 << 20, [1 << 20])
    for program in programs:
        program.close()


def test_a_refused_program_leaves_the_workspace_as_it_was(device: Backend):
    kept = define(device, 64)
    before = device.workspace.bytes

    def refuse(size: int) -> None:
        raise KernelError(ErrorCode.OUT_OF_MEMORY, f"{size} bytes")

    with pytest.raises(KernelError):
        define(device, 9000, refuse)
    assert device.workspace.bytes == before
    kept.close()
    assert device.workspace.bytes == 0


def test_programs_that_nobody_closes_give_the_workspace_back_with_their_memory(device: Backend):
    define(device, 64)
    gc.collect()
    assert device.workspace.bytes == 0
