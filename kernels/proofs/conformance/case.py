"""One op, its inputs and where they lie: a case, and how a backend runs it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from octavo_kernels.backend import Backend, Counters, SourcePart
from octavo_kernels.generated.ops import OPS, SIZES
from octavo_kernels.program.payload import NUMPY_DTYPES, PayloadLayout
from octavo_kernels.program.spec import (
    Arena,
    AttributeValue,
    Columns,
    Dimension,
    Handle,
    Input,
    Operation,
    ProgramSpec,
    Value,
    resolve,
)
from octavo_kernels.tensor import Tensor, nbytes

from .floats import widen

_STEP_SIZES = (*SIZES, "S+1", "B+1")
# Columns of a wider value lie between these many columns of something else, so that a row's end is no array's end.
_LEFT, _RIGHT = 3, 5
# A program's limits are this much above the sizes of the step.
_ROOM = 2


@dataclass(frozen=True)
class Case:
    """`inputs`: the arrays by operand, mutated ones included; bfloat16 as uint16 bits.

    `places`: "step": operands whose shape has a step's size come with the step, results lie in the arena.
    "handles": everything lies in tensors of a fixed shape. "columns": as "step", but float32 rows of activations are
    columns of wider values.
    """

    name: str
    op: str
    inputs: dict[str, np.ndarray]
    dtypes: dict[str, str]
    #: dtype and shape of each result.
    outputs: dict[str, tuple[str, tuple[int, ...]]]
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    places: str = "step"
    packed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Result:
    """What a run left: outputs and mutated inputs by operand name, bfloat16 as bits, and the counters; of a run that
    looked for NaN and infinity, 1 for each op that wrote some."""

    arrays: dict[str, np.ndarray]
    counters: Counters
    nonfinite: list[int] = field(default_factory=list)


def run_case(backend: Backend, case: Case) -> Result:
    """Define the case as a program of one op on this backend, run it once, and read everything it wrote."""
    return run_program(backend, single_op(case))


@dataclass(frozen=True)
class Prepared:
    """A program with the contents of its tensors and of its step."""

    spec: ProgramSpec
    sizes: dict[str, int]
    contents: dict[int, np.ndarray]
    brought: list[np.ndarray]
    #: Operand name -> value, of what is looked at afterwards.
    results: dict[str, int]
    arena_bytes: int


def run_program(
    backend: Backend, prepared: Prepared, tensors: dict[int, Tensor] | None = None, check: bool = False
) -> Result:
    """Run once; the arena and result tensors hold 0xFF before (NaN, -1), so that what an op leaves out shows.

    `tensors`: those of the program, by handle, if they are already there. `check`: look for NaN and infinity.
    """
    spec = prepared.spec
    tensors = prepared_tensors(backend, prepared) if tensors is None else tensors
    arena = backend.allocate("int8", "plain", (prepared.arena_bytes,)) if prepared.arena_bytes else None
    if arena is not None:
        _spoil(backend, arena)
    program = backend.define(spec, tensors, arena)
    try:
        payload = PayloadLayout(spec, spec.inputs).pack(prepared.sizes, prepared.brought)
        found = np.zeros(len(spec.ops), np.int64) if check else None
        reply, counters = program.step(prepared.sizes, memoryview(payload), None, found)
    finally:
        program.close()
    replies = dict(zip(spec.outputs, PayloadLayout(spec, spec.outputs).split(prepared.sizes, memoryview(reply))))
    arrays = {}
    for name, index in prepared.results.items():
        value = spec.values[index]
        if isinstance(value.place, Handle):
            shape = resolve(value.shape, spec.limits)
            arrays[name] = backend.read(tensors[value.place.handle]).view(NUMPY_DTYPES[value.dtype]).reshape(shape)
        else:
            arrays[name] = replies[index]
    return Result(
        {name: array.copy() for name, array in arrays.items()}, counters, [] if found is None else found.tolist()
    )


def prepared_tensors(backend: Backend, prepared: Prepared) -> dict[int, Tensor]:
    """The program's tensors by handle, with their contents."""
    tensors: dict[int, Tensor] = {}
    for value in prepared.spec.values:
        if isinstance(value.place, Handle):
            handle = value.place.handle
            tensors[handle] = backend.allocate(value.dtype, value.layout, resolve(value.shape, prepared.spec.limits))
            fill(backend, tensors[handle], prepared.contents.get(handle))
    return tensors


def fill(backend: Backend, tensor: Tensor, array: np.ndarray | None) -> None:
    """Give a tensor its contents, None being 0xFF. Packed ones go through `load`, as weights of a model do."""
    if array is None:
        _spoil(backend, tensor)
    elif tensor.layout == "plain":
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        backend.write(tensor, 0, content.size, lambda memory: np.copyto(memory, content))
    elif array.size:
        load_packed(backend, tensor, array)


def _spoil(backend: Backend, tensor: Tensor) -> None:
    backend.write(tensor, 0, nbytes(tensor.dtype, tensor.layout, tensor.shape), lambda memory: memory.fill(0xFF))


def load_packed(backend: Backend, tensor: Tensor, array: np.ndarray) -> None:
    """Through a file of float32. int8 codes come out as they are only when each row's largest magnitude is 127."""
    scale = backend.allocate("float32", "plain", tensor.shape[:1]) if tensor.dtype == "int8" else None
    load_rows(backend, widen(array, tensor.dtype), tensor, scale)


def load_rows(backend: Backend, values: np.ndarray, target: Tensor, scale: Tensor | None) -> None:
    """Loads float32 rows as a model's weights are loaded; int8 rows are quantised, their steps go to `scale`."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(values.tobytes())
    try:
        rows, columns = target.shape
        part = SourcePart(file.name, 0, values.nbytes, "F32", rows, columns)
        backend.load("int8" if scale else "float", [part], target, scale)
    finally:
        os.unlink(file.name)


def single_op(case: Case) -> Prepared:
    """The program of a case."""
    builder = ProgramWriter(case.places)
    operands = builder.inputs(case)
    outputs = builder.outputs(case)
    builder.operation(case.op, operands, outputs, case.attributes)
    mutated = {name: operands[name] for name in operands if OPS[case.op].inputs[name].mutated}
    return builder.finish({**outputs, **mutated})


class ProgramWriter:
    """Values, places and contents of a small program. `places` as in Case."""

    def __init__(self, places: str) -> None:
        self._places = places
        self._values: list[Value] = []
        self._ops: list[Operation] = []
        self._sizes: dict[str, int] = dict.fromkeys(SIZES, 0)
        self._contents: dict[int, np.ndarray] = {}
        self._brought: dict[int, np.ndarray] = {}
        self._arena = 0

    def inputs(self, case: Case) -> dict[str, int]:
        """A value for each input of the case, by operand."""
        found = {}
        for name, array in case.inputs.items():
            operand = OPS[case.op].inputs[name]
            shape = self._shape(operand.shape, array.shape)
            dtype, layout = case.dtypes[name], "packed" if name in case.packed else "plain"
            if _fixed(shape) or operand.mutated:
                found[name] = self._handle(dtype, layout, array.shape, array)
            elif self._places == "columns" and len(shape) == 2 and dtype == "float32" and isinstance(shape[1], int):
                width = array.shape[1]
                wide = np.full((array.shape[0], _LEFT + width + _RIGHT), np.nan, array.dtype)
                wide[:, _LEFT : _LEFT + width] = array
                parent = self._input(dtype, (shape[0], wide.shape[1]), wide)
                found[name] = self._value(dtype, layout, shape, Columns(parent, _LEFT))
            else:
                found[name] = self._input(dtype, shape, array)
        return found

    def outputs(self, case: Case) -> dict[str, int]:
        """A value for each output of the case, by operand."""
        found = {}
        for name, (dtype, sizes) in case.outputs.items():
            shape = self._shape(OPS[case.op].outputs[name].shape, sizes)
            found[name] = self.output(dtype, "packed" if name in case.packed else "plain", shape)
        return found

    def output(self, dtype: str, layout: str, shape: tuple[Dimension, ...]) -> int:
        """A value for a result of any op."""
        if _fixed(shape):
            return self._handle(dtype, layout, resolve(shape, self._sizes), None)
        if self._places == "columns" and len(shape) == 2 and dtype == "float32" and isinstance(shape[1], int):
            parent = self._in_arena(dtype, (shape[0], _LEFT + shape[1] + _RIGHT))
            return self._value(dtype, layout, shape, Columns(parent, _LEFT))
        return self._in_arena(dtype, shape)

    def shape_of(self, value: int) -> tuple[Dimension, ...]:
        return self._values[value].shape

    def operation(
        self, op: str, inputs: Mapping[str, int], outputs: Mapping[str, int], attributes: Mapping[str, AttributeValue]
    ) -> None:
        """Append an op."""
        self._ops.append(Operation(op, dict(inputs), dict(outputs), dict(attributes)))

    def finish(self, results: Mapping[str, int]) -> Prepared:
        """`results`: what is looked at, by name."""
        outputs = []
        for index in results.values():
            if not isinstance(self._values[index].place, Handle) and index not in outputs:
                outputs.append(index)
        limits = {name: size + _ROOM for name, size in self._sizes.items()}
        spec = ProgramSpec(tuple(self._values), tuple(self._ops), tuple(self._brought), tuple(outputs), limits)
        return Prepared(spec, self._sizes, self._contents, list(self._brought.values()), dict(results), self._arena)

    def _shape(self, expressions: tuple[str, ...], sizes: tuple[int, ...]) -> tuple[Dimension, ...]:
        shape: list[Dimension] = []
        for expression, size in zip(expressions, sizes, strict=True):
            if self._places == "handles" or expression not in _STEP_SIZES:
                shape.append(size)
                continue
            shape.append(expression)
            self._sizes[expression[0]] = size - 1 if expression.endswith("+1") else size
        return tuple(shape)

    def _value(self, dtype: str, layout: str, shape: tuple[Dimension, ...], place) -> int:
        self._values.append(Value(dtype, layout, shape, place))
        return len(self._values) - 1

    def _handle(self, dtype: str, layout: str, shape: tuple[int, ...], array: np.ndarray | None) -> int:
        index = self._value(dtype, layout, tuple(shape), Handle(len(self._values)))
        if array is not None:
            self._contents[index] = array
        return index

    def _input(self, dtype: str, shape: tuple[Dimension, ...], array: np.ndarray) -> int:
        index = self._value(dtype, "plain", shape, Input())
        self._brought[index] = array
        return index

    def _in_arena(self, dtype: str, shape: tuple[Dimension, ...]) -> int:
        index = self._value(dtype, "plain", shape, Arena(self._arena))
        self._arena += nbytes(dtype, "plain", resolve(shape, {n: size + _ROOM for n, size in self._sizes.items()}))
        return index


def _fixed(shape: tuple[Dimension, ...]) -> bool:
    return all(isinstance(size, int) for size in shape)
