"""A defined program: launches planned for the sizes of a step, run in order."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np
import torch

from ..backend import Counters
from ..checks import DataChecks
from ..errors import KernelError
from ..payload import Layout, check_sizes
from ..program import Arena, Columns, Dimension, Handle, ProgramSpec, resolve
from ..reference.views import TORCH_DTYPES
from ..tensor import PACKED_COLUMNS, Tensor, round_up
from . import interpreter
from .launch import Operand
from .ops import PLANS


class InterpretedContext:
    """See launch.Context."""

    architecture, processors, interpreted = 90, 132, True

    def __init__(self) -> None:
        self.counters = torch.zeros(2, dtype=torch.int64)

    def scratch(self, dtype: torch.dtype, *shape: int) -> torch.Tensor:
        return torch.full((math.prod(shape) * dtype.itemsize,), -1, dtype=torch.int8).view(dtype).reshape(shape)

    def tickets(self, count: int) -> torch.Tensor:
        return torch.zeros(count, dtype=torch.int32)


class TritonExecutable:
    """Holds the program and the tensors it names; made by the backend's `define` from a validated program."""

    def __init__(self, spec: ProgramSpec, tensors: Mapping[int, Tensor], arena: Tensor | None) -> None:
        self._spec: ProgramSpec | None = spec
        self._checks = DataChecks(spec)
        self._payload, self._reply = Layout(spec, spec.inputs), Layout(spec, spec.outputs)
        self._arena = arena
        handles = {value.place.handle for value in spec.values if isinstance(value.place, Handle)}
        self._tensors = {handle: tensors[handle] for handle in handles}

    def step(
        self, sizes: Mapping[str, int], payload: memoryview, profile: np.ndarray | None = None
    ) -> tuple[np.ndarray, Counters]:
        """See backend.Executable."""
        spec = self._spec
        if spec is None:
            raise KernelError("OCTAVO_DISPOSED", "step: the program was closed")
        began = time.perf_counter_ns()
        sizes = check_sizes(spec, sizes)
        operands = self._operands(spec, sizes, self._payload.split(sizes, payload))
        self._checks.run(sizes, lambda value: _array(operands[value].tensor))
        context, quantized = InterpretedContext(), 0
        for index, operation in enumerate(spec.ops):
            started = time.perf_counter_ns()
            named = {name: operands[value] for name, value in (*operation.inputs.items(), *operation.outputs.items())}
            for launch in PLANS[operation.op](context, **named, **operation.attributes):
                interpreter.run(launch)
            if profile is not None:
                profile[index] = time.perf_counter_ns() - started
            if "carries" in operation.outputs:
                rows, columns = operands[next(iter(operation.inputs.values()))].shape
                quantized += (rows - int(operands[operation.outputs["step"]].tensor.isnan().sum())) * columns
        results = [_bytes(operands[value].tensor) for value in spec.outputs]
        reply = self._reply.pack(sizes, results)
        carries, nonfinite = context.counters.tolist()
        return reply, Counters(quantized, carries, nonfinite, time.perf_counter_ns() - began)

    def close(self) -> None:
        """See backend.Executable."""
        self._spec, self._arena, self._tensors = None, None, {}

    def _operands(self, spec: ProgramSpec, sizes: Mapping[str, int], inputs: list[np.ndarray]) -> list[Operand]:
        brought = dict(zip(spec.inputs, inputs, strict=True))
        operands: list[Operand] = []
        for index, value in enumerate(spec.values):
            shape = resolve(value.shape, dict(sizes))
            match value.place:
                case Handle(handle):
                    view = _view(self._tensors[handle].memory, value.dtype, value.layout, shape)
                case Arena(offset):
                    assert self._arena is not None
                    view = _view(self._arena.memory, value.dtype, "plain", shape, offset)
                case Columns(of, column):
                    view = operands[of].tensor[:, column : column + shape[1]]
                case _:
                    data = brought[index].reshape(-1).view(np.uint8).copy()
                    view = _view(data, value.dtype, "plain", shape)
            operands.append(Operand(view, torch.tensor([shape[0]], dtype=torch.int32)))
        return operands


def _view(memory: np.ndarray, dtype: str, layout: str, shape: tuple[Dimension, ...], offset: int = 0) -> torch.Tensor:
    sizes = tuple(int(size) for size in shape)
    if 0 in sizes:
        return torch.empty(sizes, dtype=TORCH_DTYPES[dtype])
    pitch = list(sizes)
    if layout == "packed" and dtype == "int8":
        pitch[-1] = round_up(sizes[-1], PACKED_COLUMNS)
    whole = torch.frombuffer(memory.data, dtype=TORCH_DTYPES[dtype], count=math.prod(pitch), offset=offset)
    return whole.reshape(pitch)[..., : sizes[-1]]


def _array(x: torch.Tensor) -> np.ndarray:
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def _bytes(x: torch.Tensor) -> np.ndarray:
    return x.contiguous().reshape(-1).view(torch.uint8).numpy() if x.numel() else np.zeros(0, np.uint8)
