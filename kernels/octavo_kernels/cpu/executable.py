"""A defined program on the CPU: one call into the library per step."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..backend import Counters
from ..bound import BoundProgram
from ..errors import ErrorCode, KernelError
from ..generated.ops import OPS, SIZES
from ..program.scratch import Scratch
from ..program.spec import Arena, Columns, Dimension, Handle, Operation, ProgramSpec, Sizes, Value
from ..tensor import ALIGNMENT, Reserve, Tensor, Tensors, aligned_bytes, round_up
from ..workspace import Workspace
from . import library as abi
from .group import Group


def scratch_bytes(scratch: Scratch, threads: int) -> int:
    """The workspace of a program: each thread's part, then what they share."""
    return threads * round_up(scratch.thread, ALIGNMENT) + round_up(scratch.shared, ALIGNMENT)


# Bytes of a payload up to which its memory is kept: of a decode step of some hundred sequences.
_KEPT = 256 << 10


class _Step(NamedTuple):
    """A step as the library takes it."""

    given: Sizes
    #: All of SIZES.
    sizes: dict[str, int]
    arrays: Sequence[np.ndarray]
    data: np.ndarray
    numbers: ctypes.Array[ctypes.c_int64]
    address: int


class CpuExecutable(BoundProgram):
    """Holds the program and the tensors it names; made by `CpuBackend.define` from a validated program."""

    launches = None

    def __init__(
        self,
        library: ctypes.CDLL,
        context: int,
        spec: ProgramSpec,
        tensors: Tensors,
        arena: Tensor | None,
        thread_bytes: int,
        reserve: Reserve,
        group: Group | None,
    ) -> None:
        super().__init__(spec, tensors, arena, reserve)
        self._group = group
        self._library = library
        # Tensors that a check has looked at, by value.
        self._looked_at: dict[int, np.ndarray] = {}
        self._last: _Step | None = None
        self._leave: Callable[[], None] = lambda: None
        pointer = None if group is None else group.pointer
        scratch = round_up(thread_bytes, ALIGNMENT)
        self._program = library.octavo_define(context, ctypes.byref(self._struct()), scratch, pointer)
        if not self._program:
            raise KernelError(ErrorCode.OUT_OF_MEMORY, "no memory for the program")

    def join(self, workspace: Workspace, size: int) -> None:
        """Once, before the first step: where its scratch space is. Raises KernelError OCTAVO_OUT_OF_MEMORY."""
        ticket = workspace.join(size, self._reserve, self._moved)
        self._leave = lambda: workspace.leave(ticket)

    def _moved(self, memory: np.ndarray | None) -> None:
        self._scratch = None if memory is None else memory.ctypes.data

    def step(
        self, sizes: Sizes, payload: memoryview, profile: np.ndarray | None = None, nonfinite: np.ndarray | None = None
    ) -> tuple[np.ndarray, Counters]:
        if self._group is not None:
            self._group.check()
        step = self._bring(sizes, payload)
        self._checks.run(step.sizes, lambda value: self._array(value, step.sizes, step.arrays))
        reply = self._reply.empty(step.sizes, self._reserve)
        counters = abi.CountersStruct()
        failed = self._library.octavo_step(
            self._program,
            self._scratch,
            step.numbers,
            step.address,
            ctypes.addressof(ctypes.c_char.from_buffer(reply)) if reply.size else None,
            ctypes.byref(counters),
            None if profile is None else profile.ctypes.data,
            None if nonfinite is None else nonfinite.ctypes.data,
        )
        if failed and self._group is not None:
            self._group.check()
        return reply, Counters(counters.quantized, counters.carries, counters.nonfinite, counters.nanoseconds)

    def _bring(self, sizes: Sizes, payload: memoryview) -> _Step:
        """The step with its arrays where kernels can read them: aligned, which frames of the network are not. A small
        payload goes where the last one of its sizes lay, so that nothing is looked up again. Raises KernelError."""
        step = self._last
        if step is not None and step.given == sizes and step.data.size == payload.nbytes and not self._closed:
            step.data[:] = np.frombuffer(payload, np.uint8)
            return step
        checked, arrays = self._begin(sizes, payload)
        data = np.frombuffer(payload, np.uint8)
        kept = data.size <= _KEPT
        if kept or data.ctypes.data % ALIGNMENT:
            aligned = aligned_bytes(data.size)
            aligned[:] = data
            data = aligned
            arrays = self._payload.split(checked, memoryview(data))
        numbers = (ctypes.c_int64 * len(SIZES))(*checked.values())
        step = _Step(dict(sizes), checked, arrays, data, numbers, data.ctypes.data)
        self._last = step if kept else None
        return step

    def close(self) -> None:
        if self._program:
            self._library.octavo_release(self._program)
            self._program = None
            self._leave()
            self._let_go()
            self._looked_at, self._last, self._group = {}, None, None

    def __del__(self) -> None:
        if getattr(self, "_program", None):
            self.close()

    def _array(self, index: int, sizes: Sizes, arrays: Sequence[np.ndarray]) -> np.ndarray:
        found = self._looked_at.get(index)
        if found is None:
            found = super()._array(index, sizes, arrays)
            value = self._spec.values[index]
            if isinstance(value.place, Handle) and found.shape == value.shape:  # the same in every step
                self._looked_at[index] = found
        return found

    def _struct(self) -> abi.SpecStruct:
        spec = self._spec
        values = (abi.ValueStruct * len(spec.values))(*(self._value(value) for value in spec.values))
        operations = (abi.OperationStruct * len(spec.ops))(*(_operation(operation) for operation in spec.ops))
        return abi.SpecStruct(
            values,
            operations,
            (ctypes.c_int32 * len(spec.inputs))(*spec.inputs),
            (ctypes.c_int32 * len(spec.outputs))(*spec.outputs),
            len(spec.values),
            len(spec.ops),
            len(spec.inputs),
            len(spec.outputs),
            (ctypes.c_int64 * len(SIZES))(*(spec.limits[size] for size in SIZES)),
        )

    def _value(self, value: Value) -> abi.ValueStruct:
        shape = [_dimension(size) for size in value.shape]
        struct = abi.ValueStruct(
            dtype=abi.DTYPE_CODES[value.dtype],
            layout=abi.LAYOUT_CODES[value.layout],
            rank=len(shape),
            place=abi.PLACE_MEMORY,
            shape=(ctypes.c_int64 * 4)(*shape),
        )
        match value.place:
            case Handle(handle):
                struct.memory = self._tensors[handle].memory.ctypes.data
            case Arena(offset):
                assert self._arena is not None
                struct.place = abi.PLACE_ARENA
                struct.memory = self._arena.memory.ctypes.data + offset
            case Columns(of, column):
                struct.place, struct.of, struct.column = abi.PLACE_COLUMNS, of, column
            case _:
                struct.place = abi.PLACE_INPUT
        return struct


def _dimension(size: Dimension) -> int:
    if isinstance(size, int):
        return size
    return -1 - SIZES.index(size[0]) - (len(SIZES) if size.endswith("+1") else 0)


def _operation(operation: Operation) -> abi.OperationStruct:
    op = OPS[operation.op]
    struct = abi.OperationStruct(code=op.code)
    for index in range(abi.MAX_INPUTS):
        struct.inputs[index] = -1
    for index in range(abi.MAX_OUTPUTS):
        struct.outputs[index] = -1
    for index, name in enumerate(op.inputs):
        struct.inputs[index] = operation.inputs.get(name, -1)
    for index, name in enumerate(op.outputs):
        struct.outputs[index] = operation.outputs.get(name, -1)
    for index, (name, attribute) in enumerate(op.attributes.items()):
        value = operation.attributes[name]
        struct.attributes[index] = attribute.values.index(str(value)) if attribute.type == "enum" else float(value)
    return struct
