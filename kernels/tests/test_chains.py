"""Many rows go through several ops a block at a time (cpu/src/runtime/chain.h): with the bits, counts and times of ops
that run one after the other, which a step that looks for NaN does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from octavo_kernels import Arena, Backend, Columns, Handle, Input, Operation, ProgramSpec, Value
from octavo_kernels.generated.ops import SIZES
from octavo_kernels.tensor import nbytes
from proofs.conformance.case import Prepared, Result, prepared_tensors, run_program

from .one_op import cpu, reference, same_bits

_LIMIT, _K, _F = 1664, 64, 96
_QUANTIZE = {"decompose": "adaptive", "absolute": 6.0, "relative": 2.0}
_NORM = {"kind": "rms", "eps": 1e-5, "unitOffset": False}
_DIGITS = ("low", "high", "carries", "step")


class _Layers:
    """A program of layers of a transformer without attention, its arena as tight as that of `ts/program/arena.ts`."""

    def __init__(self, layers: int) -> None:
        self._rng = np.random.default_rng(layers)
        self.values: list[Value] = []
        self.ops: list[Operation] = []
        self.contents: dict[int, np.ndarray] = {}
        x = self._value("float32", ("T", _K), Input())
        for _ in range(layers):
            x = self._layer(x)
        self.outputs = (x,)
        self.arena = self._place()

    def _value(self, dtype: str, shape: tuple, place) -> int:
        self.values.append(Value(dtype, "plain", shape, place))
        return len(self.values) - 1

    def _made(self, dtype: str, *shape) -> int:
        return self._value(dtype, shape, Arena(0))

    def _parameter(self, array: np.ndarray, layout: str = "plain") -> int:
        self.contents[len(self.contents)] = array
        value = self._value(str(array.dtype), array.shape, Handle(len(self.contents) - 1))
        self.values[value] = Value(str(array.dtype), layout, array.shape, Handle(len(self.contents) - 1))
        return value

    def _op(self, op: str, inputs: dict[str, int], outputs: dict[str, int], **attributes) -> dict[str, int]:
        self.ops.append(Operation(op, inputs, outputs, attributes))
        return outputs

    def _digits(
        self, op: str, columns: int, inputs: dict[str, int], more: dict[str, int], **attributes
    ) -> dict[str, int]:
        padded = -(-columns // 64) * 64
        words = 4 + padded // 4 + padded - columns
        digits = {
            **{"low": self._made("int8", "T", padded), "high": self._made("int8", "T", padded)},
            **{"carries": self._made("int32", "T", words), "step": self._made("float32", "T")},
        }
        return self._op(op, inputs, {**more, **digits}, **_QUANTIZE, **attributes)

    def _linear(self, digits: dict[str, int], columns: int, depth: int) -> int:
        codes = self._rng.integers(-127, 128, (columns, depth)).astype(np.int8)
        codes[:, 0] = 127  # so that loading keeps them
        scale = self._rng.uniform(0.5, 2, columns).astype(np.float32)
        inputs = {name: digits[name] for name in _DIGITS}
        inputs |= {"weight": self._parameter(codes, "packed"), "scale": self._parameter(scale)}
        return self._op("linear_int8", inputs, {"y": self._made("float32", "T", columns)})["y"]

    def _layer(self, x: int) -> int:
        weight = self._parameter(self._rng.standard_normal(_K).astype(np.float32))
        digits = self._digits("norm_quantize", _K, {"x": x, "weight": weight}, {}, **_NORM)
        both = self._linear(digits, 2 * _F, _K)
        gate = self._value("float32", ("T", _F), Columns(both, 0))
        up = self._value("float32", ("T", _F), Columns(both, _F))
        digits = self._digits("glu_quantize", _F, {"gate": gate, "up": up}, {}, activation="silu")
        down = self._linear(digits, _K, _F)
        total = {"y": self._made("float32", "T", _K)}
        inputs = {"a": x, "b": down, "weight": weight}
        found = self._digits("add_norm_quantize", _K, inputs, total, **_NORM)
        again = self._linear(found, _K, _K)
        return self._op("add", {"a": found["y"], "b": again}, {"y": self._made("float32", "T", _K)})["y"]

    def _root(self, value: int) -> int:
        place = self.values[value].place
        return self._root(place.of) if isinstance(place, Columns) else value

    def _place(self) -> int:
        """Largest first, into the first gap among what lives at the same time; the bytes of all."""
        lives: dict[int, list[int]] = {}
        for index, op in enumerate(self.ops):
            for value in (*op.inputs.values(), *op.outputs.values()):
                lives.setdefault(self._root(value), [index, index])[1] = index
        for value in self.outputs:
            lives[value][1] = len(self.ops)
        made = {value: self._bytes(value) for value in lives if isinstance(self.values[value].place, Arena)}
        placed: dict[int, int] = {}
        for value in sorted(made, key=lambda value: -made[value]):
            meets = [
                (placed[other], placed[other] + made[other])
                for other in placed
                if lives[other][0] <= lives[value][1] and lives[value][0] <= lives[other][1]
            ]
            offset = 0
            for begin, end in sorted(meets):
                if offset + made[value] <= begin:
                    break
                offset = max(offset, end)
            placed[value] = offset
            old = self.values[value]
            self.values[value] = Value(old.dtype, old.layout, old.shape, Arena(offset))
        return max(placed[value] + made[value] for value in placed)

    def _bytes(self, value: int) -> int:
        shape = tuple(_LIMIT if size == "T" else int(size) for size in self.values[value].shape)
        return -(-nbytes(self.values[value].dtype, "plain", shape) // 64) * 64

    def prepared(self, rows: int) -> Prepared:
        """A step of so many rows, one of them with NaN."""
        limits = {**dict.fromkeys(SIZES, 0), "T": _LIMIT}
        spec = ProgramSpec(tuple(self.values), tuple(self.ops), (0,), self.outputs, limits)
        x = np.random.default_rng(rows).standard_t(3, (rows, _K)).astype(np.float32)
        if rows > 7:
            x[7, 3] = np.nan
        sizes = {**dict.fromkeys(SIZES, 0), "T": rows}
        return Prepared(spec, sizes, self.contents, [x], {"y": self.outputs[0]}, self.arena)


def _counts(result: Result) -> tuple[int, int, int]:
    counters = result.counters
    return counters.quantized, counters.carries, counters.nonfinite


@cache
def _expected(layers: int, rows: int) -> Result:
    return run_program(reference(), _Layers(layers).prepared(rows))


def _backends() -> Iterator[Backend]:
    for isa in cpu().isas:
        for threads in (1, 2, 3):
            yield cpu(threads, isa)


@pytest.mark.parametrize("rows", [0, 1, 300, 511, 512, 513, 1023, 1024, 1300, 1536, 1663, _LIMIT])
@pytest.mark.parametrize("layers", [1, 2])
def test_rows_that_go_through_ops_in_blocks_have_the_bits_of_the_definition(layers: int, rows: int):
    expected = _expected(layers, rows)
    for backend in _backends():
        got = run_program(backend, _Layers(layers).prepared(rows))
        where = f"{backend.isa}, {backend.threads} threads"
        assert same_bits(got.arrays, expected.arrays), where
        assert _counts(got) == _counts(expected), where


def test_a_step_that_looks_for_nan_finds_it_where_it_began():
    layers = _Layers(1)
    for backend in _backends():
        prepared = layers.prepared(_LIMIT)
        plain, checked = run_program(backend, prepared), run_program(backend, prepared, check=True)
        assert same_bits(plain.arrays, checked.arrays)
        assert _counts(plain) == _counts(checked)
        assert checked.nonfinite == [1] * len(layers.ops)


def test_every_op_has_a_time_and_they_are_those_of_the_step():
    layers = _Layers(2)
    for backend in _backends():
        prepared = layers.prepared(_LIMIT)
        tensors = prepared_tensors(backend, prepared)
        program = backend.define(prepared.spec, tensors, backend.allocate("int8", "plain", (prepared.arena_bytes,)))
        try:
            profile = np.full(len(layers.ops), -1, np.int64)
            counters = program.step(
                prepared.sizes, memoryview(prepared.brought[0].reshape(-1).view(np.uint8)), profile
            )[1]
        finally:
            program.close()
        assert (profile >= 0).all()
        assert 0 < profile.sum() <= counters.nanoseconds
