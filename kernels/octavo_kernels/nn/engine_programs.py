"""The programs of the C++ engine: `quantize`, `linear_int8`, both, or `linear_published`, with T open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ..backend import Executable
from ..cpu.backend import CpuBackend
from ..generated.ops import SIZES
from ..program.payload import PayloadLayout
from ..program.shapes import carry_words, pad64
from ..program.spec import Arena, AttributeValue, Dimension, Handle, Input, Operation, ProgramSpec, Value, resolve
from ..reference.views import TORCH_DTYPES
from ..tensor import Tensor, nbytes
from .threshold import Dial


class EngineProgram:
    """Built by naming values, then defined once, then run with up to `rows` rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.arena_bytes = 0
        self._values: list[Value] = []
        self._ops: list[Operation] = []
        self._handles: dict[str, int] = {}
        self._inputs: list[int] = []
        self._outputs: list[int] = []
        self._limits = {**dict.fromkeys(SIZES, 0), "T": rows}

    def brought(self, dtype: str, *columns: int) -> int:
        """A value [T, *columns] that each run brings."""
        self._inputs.append(self._value(dtype, "plain", ("T", *columns), Input()))
        return self._inputs[-1]

    def held(self, name: str, dtype: str, layout: str, *shape: int) -> int:
        """A value in the tensor that `define` is given under this name."""
        self._handles[name] = self._value(dtype, layout, shape, Handle(len(self._values)))
        return self._handles[name]

    def made(self, dtype: str, *columns: int) -> int:
        """A value [T, *columns] that an op writes."""
        index = self._value(dtype, "plain", ("T", *columns), Arena(self.arena_bytes))
        self.arena_bytes += nbytes(dtype, "plain", (self.rows, *columns))
        return index

    def call(self, op: str, inputs: dict[str, int], outputs: dict[str, int], **attributes: AttributeValue) -> None:
        """Append an op."""
        self._ops.append(Operation(op, inputs, outputs, attributes))

    def returns(self, *values: int) -> EngineProgram:
        """What a run gives back."""
        self._outputs = list(values)
        return self

    def define(self, backend: CpuBackend, tensors: dict[str, Tensor], arena: Tensor) -> None:
        """Bind it to memory, which it keeps. Raises KernelError."""
        spec = ProgramSpec(
            tuple(self._values), tuple(self._ops), tuple(self._inputs), tuple(self._outputs), self._limits
        )
        self._payload, self._reply = PayloadLayout(spec, spec.inputs), PayloadLayout(spec, spec.outputs)
        by_handle = {self._handles[name]: tensor for name, tensor in tensors.items()}
        self._executable: Executable = backend.define(spec, by_handle, arena)

    def starts(self, inputs: Sequence[torch.Tensor]) -> Iterator[int]:
        """First rows of the runs that these inputs need."""
        return iter(range(0, inputs[0].shape[0], self.rows))

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """`inputs`: contiguous, the same T rows each, in the order they were named; the results are new tensors."""
        sizes = {**dict.fromkeys(SIZES, 0), "T": inputs[0].shape[0]}
        arrays = [x.detach().numpy() for x in inputs]
        # One array is a payload as it is.
        payload = arrays[0].reshape(-1).view(np.uint8) if len(arrays) == 1 else self._payload.pack(sizes, arrays)
        reply, _ = self._executable.step(sizes, memoryview(payload))
        whole = torch.from_numpy(reply)
        places = self._reply.split(sizes, memoryview(reply))
        results = []
        for index, array in zip(self._outputs, places, strict=True):
            value = self._values[index]
            start = array.ctypes.data - reply.ctypes.data
            part = whole[start : start + array.nbytes].view(TORCH_DTYPES[value.dtype])
            part = part.reshape(resolve(value.shape, sizes))
            # An op of torch.library may not return two tensors of one memory.
            results.append(part if len(self._outputs) == 1 else part.clone())
        return results

    def _value(self, dtype: str, layout: str, shape: tuple[Dimension, ...], place: Arena | Handle | Input) -> int:
        self._values.append(Value(dtype, layout, shape, place))
        return len(self._values) - 1


def quantizer(columns: int, dial: Dial, rows: int) -> EngineProgram:
    """x [T, K] -> low, high, carries, step."""
    program = EngineProgram(rows)
    x = program.brought("float32", columns)
    return program.returns(*_quantize(program, x, columns, dial).values())


def linear(outputs: int, columns: int, bias: bool, rows: int) -> EngineProgram:
    """low, high, carries, step -> y [T, N]."""
    program = EngineProgram(rows)
    return program.returns(_linear(program, _digits(program.brought, columns), outputs, columns, bias))


def exact(outputs: int, columns: int, bias: bool, dial: Dial, rows: int) -> EngineProgram:
    """x [T, K] -> y [T, N]."""
    program = EngineProgram(rows)
    x = program.brought("float32", columns)
    digits = _quantize(program, x, columns, dial)
    return program.returns(_linear(program, digits, outputs, columns, bias))


def published(outputs: int, columns: int, bias: bool, threshold: float, rows: int) -> EngineProgram:
    """x [T, K] -> y [T, N]."""
    program = EngineProgram(rows)
    x = program.brought("float32", columns)
    y = program.made("float32", outputs)
    operands = {"x": x, **_weight(program, outputs, columns, bias)}
    program.call("linear_published", operands, {"y": y}, threshold=threshold)
    return program.returns(y)


def _digits(place: Callable[..., int], columns: int) -> dict[str, int]:
    """The values of digits; `place`: EngineProgram.brought or EngineProgram.made."""
    shapes = {"low": ("int8", pad64(columns)), "high": ("int8", pad64(columns))}
    shapes |= {"carries": ("int32", carry_words(columns)), "step": ("float32",)}
    return {name: place(*shape) for name, shape in shapes.items()}


def _quantize(program: EngineProgram, x: int, columns: int, dial: Dial) -> dict[str, int]:
    digits = _digits(program.made, columns)
    attributes = {"decompose": dial.decompose, "absolute": dial.absolute, "relative": dial.relative}
    program.call("quantize", {"x": x}, digits, **attributes)
    return digits


def _linear(program: EngineProgram, digits: dict[str, int], outputs: int, columns: int, bias: bool) -> int:
    y = program.made("float32", outputs)
    program.call("linear_int8", {**digits, **_weight(program, outputs, columns, bias)}, {"y": y})
    return y


def _weight(program: EngineProgram, outputs: int, columns: int, bias: bool) -> dict[str, int]:
    operands = {
        "weight": program.held("weight", "int8", "packed", outputs, columns),
        "scale": program.held("scale", "float32", "plain", outputs),
    }
    if bias:
        operands["bias"] = program.held("bias", "float32", "plain", outputs)
    return operands
