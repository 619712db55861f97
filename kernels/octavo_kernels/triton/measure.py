"""What a program's steps need beside its tensors: found by planning on memory that has no contents ("meta")."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

from ..program.spec import Arena, Columns, Handle, Operation, ProgramSpec, resolve
from ..tensor import nbytes
from .buckets import Buckets
from .device import Device
from .frame import Frame, Memories
from .workspace import Measure


@dataclass(frozen=True)
class Needs:
    """`inputs`, `outputs`: bytes of the blocks that go to the device and come back. `launches` of each op: at the
    limits."""

    ops: Measure
    inputs: int
    outputs: int
    launches: tuple[int, ...]


def measure(spec: ProgramSpec, device: Device, buckets: Buckets, returned: Sequence[int], slots: int) -> Needs:
    """The most that any step within the program's limits can need."""
    context = Measure(device)
    keys = [_key(spec, operation) for operation in spec.ops]
    distinct, launches = dict(zip(keys, spec.ops, strict=True)), dict[Hashable, int]()
    at = without_contents(spec)
    inputs = outputs = 0
    for capacity in buckets.all():  # The last one is the limits.
        frame = Frame(spec, capacity, returned, slots, at)
        inputs, outputs = max(inputs, frame.inputs.bytes), max(outputs, frame.outputs.bytes)
        for key, operation in distinct.items():
            context.begin()
            launches[key] = sum(0 not in launch.grid for launch in frame.plan(context, operation))
    return Needs(context, inputs, outputs, tuple(launches[key] for key in keys))


def _key(spec: ProgramSpec, operation: Operation) -> Hashable:
    """Equal for ops that plan alike: the layers of a model."""
    operands = {**operation.inputs, **operation.outputs}
    described = tuple((name, _described(spec, index)) for name, index in sorted(operands.items()))
    return operation.op, described, tuple(sorted(operation.attributes.items()))


def _described(spec: ProgramSpec, index: int) -> Hashable:
    value = spec.values[index]
    within = None
    if isinstance(value.place, Columns):
        within = (value.place.column, _described(spec, value.place.of))
    return value.dtype, value.layout, tuple(value.shape), within


def without_contents(spec: ProgramSpec) -> Memories:
    """A program's memory on the device "meta": launches can be planned on it, and nothing else."""

    def memory(size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8, device="meta")

    handles, arena = {}, 0
    for value in spec.values:
        size = nbytes(value.dtype, value.layout, resolve(value.shape, spec.limits))
        match value.place:
            case Handle(handle):
                handles[handle] = memory(size)
            case Arena(offset):
                arena = max(arena, offset + size)
    # Blocks as large as they may be: how large, is what this is to find out.
    block = memory(1 << 60)
    return Memories(handles, memory(arena), block, block)
