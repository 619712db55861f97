"""A rank by itself: what a group refuses, and what a step leaves alone when another rank does not come."""

from __future__ import annotations

import numpy as np
import pytest
from octavo_kernels import Arena, ErrorCode, Handle, KernelError, Operation, ProgramSpec, Value, open_group
from octavo_kernels.cpu.group import Group
from octavo_kernels.cpu.library import load_library
from octavo_kernels.generated.ops import SIZES
from octavo_kernels.tensor import Tensor, aligned_bytes

from .conftest import opened

_NONE: dict[str, int] = dict.fromkeys(SIZES, 0)
_X, _SUM = 1, 2


def _group(ranks: int = 2, deadline_ms: int = 20) -> Group:
    return open_group(aligned_bytes(1 << 16), 0, ranks, deadline_ms)


def _value(columns: int, place: Handle | Arena) -> Value:
    return Value("float32", "plain", (3, columns), place)


def _gather_then_add() -> ProgramSpec:
    """The tensor _X [3, 4] is gathered to 9 columns, and twice that is written to _SUM."""
    ops = (
        Operation("gather", {"x": 0}, {"y": 1}, {"columns": 9}),
        Operation("add", {"a": 1, "b": 1}, {"y": 2}),
    )
    return ProgramSpec((_value(4, Handle(_X)), _value(9, Arena(0)), _value(9, Handle(_SUM))), ops, (), (), _NONE)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["cpu", "reference", "triton-interpreter"])
def test_ops_behind_a_gather_that_failed_do_not_run(name: str, threads: int):
    backend = opened(name, threads=threads)
    shapes = {_X: (3, 4), _SUM: (3, 9)}
    tensors = {handle: backend.allocate("float32", "plain", shape) for handle, shape in shapes.items()}
    for tensor in tensors.values():
        backend.write(tensor, 0, 4 * tensor.shape[0] * tensor.shape[1], lambda memory: memory.fill(7))
    group = _group()
    program = backend.define(_gather_then_add(), tensors, backend.allocate("int8", "plain", (128,)), group=group)
    for _ in range(2):
        with pytest.raises(KernelError) as broken:
            program.step(_NONE, memoryview(b""))
        assert broken.value.code == ErrorCode.GROUP_BROKEN
        assert broken.value.retryable
    assert (backend.read(tensors[_SUM]) == 7).all()
    program.close()
    group.close()


def test_a_program_keeps_its_group_until_it_is_closed(backend):
    tensors = {_X: backend.allocate("float32", "plain", (3, 4)), _SUM: backend.allocate("float32", "plain", (3, 9))}
    program = backend.define(_gather_then_add(), tensors, backend.allocate("int8", "plain", (128,)), group=_group())
    with pytest.raises(KernelError) as broken:
        program.step(_NONE, memoryview(b""))
    assert broken.value.code == ErrorCode.GROUP_BROKEN
    program.close()
    with pytest.raises(KernelError) as closed:
        program.step(_NONE, memoryview(b""))
    assert closed.value.code == ErrorCode.DISPOSED


@pytest.mark.parametrize(
    ("memory", "rank", "ranks", "deadline_ms", "told"),
    [
        (aligned_bytes(4096 + 511), 0, 2, 1, "at least 4608"),
        (aligned_bytes(1 << 16), 2, 2, 1, "rank 2 of a group of 2"),
        (aligned_bytes(1 << 16), -1, 2, 1, "rank -1 of a group of 2"),
        (aligned_bytes(1 << 16), 0, 0, 1, "rank 0 of a group of 0"),
        (aligned_bytes(1 << 16), 0, 2, 0, "deadline"),
        (aligned_bytes(1 << 16)[4:], 0, 2, 1, "multiple of 64"),
    ],
)
def test_a_group_that_cannot_be_is_refused(memory: np.ndarray, rank: int, ranks: int, deadline_ms: int, told: str):
    with pytest.raises(KernelError, match=told) as refused:
        open_group(memory, rank, ranks, deadline_ms)
    assert refused.value.code == ErrorCode.BAD_ARGUMENT
    assert not memory.any()


@pytest.mark.parametrize("ranks", [1, 2, 63, 64, 1024])
def test_the_least_memory_of_a_group_is_enough(ranks: int):
    """Slots of 16 numbers: all that a rank writes lies in its own, and the last one ends with the memory."""
    memory = aligned_bytes(load_library().octavo_group_least_bytes(ranks, 1) + 64)
    group = open_group(memory[:-64], ranks - 1, ranks, 1)
    if ranks == 1:
        x = np.arange(40, dtype=np.float32).reshape(2, 20)
        assert (group.gather(0, x, 20, 0) == x).all()
    else:
        with pytest.raises(KernelError, match=f"rank 0 of {ranks}"):
            group.gather(0, np.ones((1, 17), np.float32), 17 + ranks, ranks)
    assert not memory[-64:].any()
    assert memory[:-64][-128:].any()


def test_a_closed_group_is_of_no_use():
    group = _group()
    group.close()
    group.close()
    for use in (group.check, lambda: group.gather(0, np.ones((1, 1), np.float32), 1, 0)):
        with pytest.raises(KernelError) as refused:
            use()
        assert refused.value.code == ErrorCode.DISPOSED
    backend = opened("cpu")
    tensors: dict[int, Tensor] = {}
    with pytest.raises(KernelError) as refused:
        backend.define(ProgramSpec((), (), (), (), _NONE), tensors, None, group=group)
    assert refused.value.code == ErrorCode.DISPOSED
