"""A small llama with random weights as a program, fused as `ts/program/fuse.ts` does it: for checks of executors."""

from __future__ import annotations

import os
import tempfile

import numpy as np
from octavo_kernels.backend import Backend, SourcePart
from octavo_kernels.program.shapes import carry_words
from octavo_kernels.program.spec import (
    Arena,
    AttributeValue,
    Columns,
    Dimension,
    Handle,
    Input,
    Operation,
    Place,
    ProgramSpec,
    Value,
    resolve,
)
from octavo_kernels.tensor import Tensor, nbytes, round_up

from .case import fill

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCABULARY = 64, 4, 2, 16, 96, 80
PAGES, CONTEXT, SEQUENCES = 24, 96, 6
LIMITS = {"T": 40, "S": SEQUENCES, "B": SEQUENCES, "J": CONTEXT // 16, "H": 64, "D": 16, "Q": 2}
Attributes = dict[str, AttributeValue]
# Half the rows have an outlier at this threshold, so that carries matter.
_QUANTIZE: Attributes = {"decompose": "adaptive", "absolute": 6.0, "relative": 2.5}
_RMS: Attributes = {"kind": "rms", "eps": 1e-5, "unitOffset": False}

Digits = tuple[dict[str, int], int]


class Llama:
    """The program with the contents of its tensors.

    `contents`: by handle; a packed int8 weight's is float32, to be quantised by `load` with the scale in `scales`.
    """

    def __init__(self, layers: int = 2) -> None:
        self.contents: dict[int, np.ndarray] = {}
        self.scales: dict[int, int] = {}
        #: First op of each layer, and of what follows the last.
        self.boundaries: list[int] = []
        self.arena_bytes = 0
        self._values: list[Value] = []
        self._ops: list[Operation] = []
        self._rng = np.random.default_rng(7)
        self.inputs: dict[str, int] = {}
        self.sampled = self._tensor("int32", np.zeros(SEQUENCES, np.int32))
        outputs = self._write(layers)
        self.outputs = list(outputs)
        values, ops, inputs = tuple(self._values), tuple(self._ops), tuple(self.inputs.values())
        self.spec = ProgramSpec(values, ops, inputs, tuple(outputs.values()), dict(LIMITS))

    def load(self, backend: Backend) -> tuple[dict[int, Tensor], Tensor]:
        """Tensors by handle and the arena, on a backend."""
        tensors = {
            value.place.handle: backend.allocate(value.dtype, value.layout, resolve(value.shape, LIMITS))
            for value in self._values
            if isinstance(value.place, Handle)
        }
        for handle, content in self.contents.items():
            if handle in self.scales:
                _load_int8(backend, content, tensors[handle], tensors[self.scales[handle]])
            else:
                fill(backend, tensors[handle], content)
        return tensors, backend.allocate("int8", "plain", (self.arena_bytes,))

    def _write(self, layers: int) -> dict[str, int]:
        tokens, positions, slots = (self._input(name, "int32", "T") for name in ("tokens", "positions", "slots"))
        pages, lengths = self._input("pages", "int32", "B", "J"), self._input("lengths", "int32", "B")
        paged = {"pages": pages, "lengths": lengths, "starts": self._input("starts", "int32", "B+1")}
        rows = self._input("rows", "int32", "S")
        angle = np.arange(CONTEXT)[:, None] / 10000.0 ** (np.arange(HEAD_DIM // 2) / (HEAD_DIM // 2))
        cos, sin = (self._tensor("float32", table.astype(np.float32)) for table in (np.cos(angle), np.sin(angle)))
        rope = {"positions": positions, "cos": cos, "sin": sin, "slots": slots}
        table = self._tensor("float16", self._random(VOCABULARY, HIDDEN).astype(np.float16), "packed")
        x = self._op("embed", {"tokens": tokens, "table": table, "sampled": self.sampled}, HIDDEN, scale=1.0)
        added: int | None = None
        for _ in range(layers):
            self.boundaries.append(len(self._ops))
            x, digits = self._norm_quantize(x, added)
            qkv = self._linear(digits, (HEADS + 2 * KV_HEADS) * HEAD_DIM)
            q, k, v = self._split(qkv, HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM)
            cache = {"keys": self._cache(HEAD_DIM, 16), "values": self._cache(16, HEAD_DIM)}
            heads: Attributes = {"headDim": HEAD_DIM, "kvHeads": KV_HEADS}
            turned = {"q": q, "k": k, "v": v, **rope, **cache}
            q = self._op("rope_append", turned, HEADS * HEAD_DIM, "T", pairing="half", **heads)
            attributes = {**heads, "heads": HEADS, "scale": 0.25, "window": 0, "softcap": 0.0}
            mixed = self._op("attention", {"q": q, **cache, **paged}, HEADS * HEAD_DIM, "T", **attributes)
            added = self._linear(self._quantize("quantize", {"x": mixed}, HEADS * HEAD_DIM, None), HIDDEN)
            x, digits = self._norm_quantize(x, added)
            gate, up = self._split(self._linear(digits, 2 * FFN), FFN, FFN)
            digits = self._quantize("glu_quantize", {"gate": gate, "up": up}, FFN, None, activation="silu")
            added = self._linear(digits, HIDDEN)
        assert added is not None
        self.boundaries.append(len(self._ops))
        x = self._op("add", {"a": x, "b": added}, HIDDEN)
        x = self._op("rows", {"x": x, "index": rows}, HIDDEN, "S")
        x = self._op("norm", {"x": x, "weight": self._norm_weight()}, HIDDEN, "S", **_RMS)
        logits = self._op("linear_float", {"x": x, "weight": table}, VOCABULARY, "S")
        return {**self._sample(logits), "logits": logits}

    def _sample(self, logits: int) -> dict[str, int]:
        words = -(-VOCABULARY // 32)
        brought = {
            "settings": self._input("settings", "float32", "S", 6),
            "counters": self._input("counters", "int32", "S", 7),
            "historyStarts": self._input("historyStarts", "int32", "S+1"),
            "history": self._input("history", "int32", "H"),
            "biasStarts": self._input("biasStarts", "int32", "S+1"),
            "biasIds": self._input("biasIds", "int32", "D"),
            "biasValues": self._input("biasValues", "float32", "D"),
            "masks": self._input("masks", "int32", "Q", words),
        }
        outputs = {
            "ids": self._place("int32", "S"),
            "logprob": self._place("float32", "S"),
            "topIds": self._place("int32", "S", 20),
            "topLogprobs": self._place("float32", "S", 20),
        }
        operands = {"logits": logits, **brought, "sampled": self.sampled}
        self._ops.append(Operation("sample", operands, outputs, {"maskWords": words}))
        return outputs

    def _norm_quantize(self, x: int, added: int | None) -> tuple[int, Digits]:
        weight = self._norm_weight()
        if added is None:
            return x, self._quantize("norm_quantize", {"x": x, "weight": weight}, HIDDEN, None, **_RMS)
        y = self._place("float32", "T", HIDDEN)
        inputs = {"a": x, "b": added, "weight": weight}
        return y, self._quantize("add_norm_quantize", inputs, HIDDEN, {"y": y}, **_RMS)

    def _quantize(
        self,
        op: str,
        inputs: dict[str, int],
        columns: int,
        others: dict[str, int] | None,
        **attributes: AttributeValue,
    ) -> Digits:
        digits = {
            "low": self._place("int8", "T", round_up(columns, 64)),
            "high": self._place("int8", "T", round_up(columns, 64)),
            "carries": self._place("int32", "T", carry_words(columns)),
            "step": self._place("float32", "T"),
        }
        self._ops.append(Operation(op, inputs, {**(others or {}), **digits}, {**attributes, **_QUANTIZE}))
        return digits, columns

    def _linear(self, digits: Digits, n: int) -> int:
        operands, k = digits
        weight = self._value("int8", "packed", (n, k), Handle(len(self._values)))
        self.contents[weight] = self._random(n, k) * 0.2
        scale = self.scales[weight] = self._value("float32", "plain", (n,), Handle(len(self._values)))
        return self._op("linear_int8", {**operands, "weight": weight, "scale": scale}, n)

    def _op(self, op: str, inputs: dict[str, int], columns: int, rows: str = "T", **attributes: AttributeValue) -> int:
        y = self._place("float32", rows, columns)
        self._ops.append(Operation(op, inputs, {"y": y}, attributes))
        return y

    def _split(self, whole: int, *widths: int) -> list[int]:
        starts = [sum(widths[:number]) for number in range(len(widths))]
        columns = [Columns(whole, start) for start in starts]
        return [self._value("float32", "plain", ("T", width), at) for at, width in zip(columns, widths, strict=True)]

    def _norm_weight(self) -> int:
        return self._tensor("float32", 1 + self._random(HIDDEN) * 0.1)

    def _cache(self, *inner: int) -> int:
        return self._tensor("float16", np.zeros((PAGES, KV_HEADS, *inner), np.float16))

    def _random(self, *shape: int) -> np.ndarray:
        return self._rng.standard_normal(shape).astype(np.float32)

    def _tensor(self, dtype: str, content: np.ndarray, layout: str = "plain") -> int:
        index = self._value(dtype, layout, content.shape, Handle(len(self._values)))
        self.contents[index] = content
        return index

    def _input(self, name: str, dtype: str, *shape: Dimension) -> int:
        self.inputs[name] = self._value(dtype, "plain", shape, Input())
        return self.inputs[name]

    def _place(self, dtype: str, *shape: Dimension) -> int:
        index = self._value(dtype, "plain", shape, Arena(self.arena_bytes))
        self.arena_bytes += nbytes(dtype, "plain", resolve(shape, LIMITS))
        return index

    def _value(self, dtype: str, layout: str, shape: tuple[Dimension, ...], place: Place) -> int:
        self._values.append(Value(dtype, layout, shape, place))
        return len(self._values) - 1


def _load_int8(backend: Backend, content: np.ndarray, target: Tensor, scale: Tensor) -> None:
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(content.tobytes())
    try:
        part = SourcePart(file.name, 0, content.nbytes, "F32", *content.shape)
        backend.load("int8", [part], target, scale)
    finally:
        os.unlink(file.name)
