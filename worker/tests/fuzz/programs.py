"""Random programs from the op table, as `define` messages with the tensors and the step that go with them.

Most are right: operands fit, indices are in range. `mutations.py` makes them wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from octavo_kernels.generated.ops import OPS, SIZES
from octavo_kernels.program.shapes import evaluate
from octavo_kernels.program.spec import Dimension, resolve
from octavo_kernels.tensor import nbytes, round_up

#: Those that one rank can do.
_ALONE = [op for op in OPS if op not in ("send", "receive")]
_NUMBERS = (1, 2, 3, 5, 15, 16, 17, 33, 64, 65)
_SYMBOL = re.compile(r"\b[A-Z]\b")
Message = dict[str, Any]


@dataclass
class RandomProgram:
    """`define` lacks its handle; `contents`: bytes of the plain tensors; `packed`: rows and columns of the others.
    `group`: ranks of the group that it runs in as the first one, 0 without any.
    """

    allocations: list[Message]
    define: Message
    sizes: dict[str, int]
    payload: bytes
    contents: dict[int, bytes]
    packed: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    group: int = 0


class Writer:
    """Writes one program; `first`: the first handle that it may use."""

    def __init__(self, rng: Random, first: int) -> None:
        self.rng, self.numpy = rng, np.random.default_rng(rng.getrandbits(32))
        self.handle = first
        self.sizes = {name: rng.choice((1, 1, 2, 3, 5, 9, 17)) for name in SIZES}
        self.limits = {name: size + rng.randrange(3) for name, size in self.sizes.items()}
        self.values: list[Message] = []
        self.shapes: list[tuple[Dimension, ...]] = []
        self.ops: list[Message] = []
        self.inputs: dict[int, np.ndarray] = {}
        self.outputs: list[int] = []
        self.arena = 0
        # Digits that an op makes, with their T and K; low digits that a step brings.
        self.digits: list[tuple[dict[str, int], dict[str, Dimension]]] = []
        self.low = np.zeros((0, 0), np.int8)
        self.program = RandomProgram([], {}, self.sizes, b"", {}, group=rng.choice((0, 1, 2)))

    def write(self, ops: int) -> RandomProgram:
        for _ in range(ops):
            self._operation(self.rng.choice(_ALONE))
        made = self.outputs
        outputs = self.rng.sample(made, min(len(made), 3))
        define: Message = {
            "kind": "define",
            "limits": self.limits,
            "values": self.values,
            "ops": self.ops,
            "inputs": list(self.inputs),
            "outputs": outputs,
        }
        if self.arena:
            define["arena"] = self._allocate("int8", "plain", (self.arena,))
        payload = b""
        for array in self.inputs.values():
            payload = payload.ljust(round_up(len(payload), 64), b"\0") + array.tobytes()
        self.program.define, self.program.payload = define, payload
        return self.program

    def _operation(self, op: str) -> None:
        table = OPS[op]
        attributes = self._attributes(op)
        symbols = self._symbols(op, attributes)
        if op == "gather":
            attributes["columns"] = int(symbols["K"]) + (3 if self.program.group == 2 else 0)
        inputs, outputs = {}, {}
        if op in ("linear_int8", "multiply_int8") and self.digits and self.rng.random() < 0.7:
            digits, shared = self.rng.choice(self.digits)
            inputs = {name: value for name, value in digits.items() if name in table.inputs}
            symbols = {**symbols, **shared}
        cached = self.rng.choice(("int16", "int8"))
        for name, operand in table.inputs.items():
            if name in inputs or (operand.optional and self.rng.random() < 0.4):
                continue
            shape = tuple(evaluate(size, symbols, attributes) for size in operand.shape)
            dtype = cached if name in ("keys", "values") else self.rng.choice(operand.dtypes)
            packed = operand.packed and self.rng.random() < 0.5
            found = self._reusable(dtype, shape, operand.mutated)
            if found is None or packed:
                content = None if packed else self._content(name, dtype, shape, symbols)
                found = self._place(dtype, "packed" if packed else "plain", shape, content, operand.mutated or packed)
            inputs[name] = found
        for name, operand in table.outputs.items():
            shape = tuple(evaluate(size, symbols, attributes) for size in operand.shape)
            dtype = attributes.get("dtype") or self.rng.choice(operand.dtypes)
            outputs[name] = self._result(str(dtype), shape)
        if "carries" in outputs:
            digits = {name: outputs[name] for name in ("low", "high", "carries", "step")}
            self.digits.append((digits, {name: symbols[name] for name in "TK"}))
        listed = [{"name": name, **_attribute(table.attributes[name], value)} for name, value in attributes.items()]
        operands = [[{"name": name, "value": value} for name, value in given.items()] for given in (inputs, outputs)]
        self.ops.append({"op": op, "inputs": operands[0], "outputs": operands[1], "attributes": listed})
        self.outputs.extend(outputs.values())

    def _attributes(self, op: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, attribute in OPS[op].attributes.items():
            if attribute.type == "enum":
                found[name] = self.rng.choice(attribute.values)
            elif attribute.type == "boolean":
                found[name] = self.rng.random() < 0.5
            elif attribute.type == "number":
                found[name] = self.rng.choice((0.0, 0.5, 1.0, 6.0))
        small = {"headDim": (2, 4, 16, 20), "kvHeads": (1, 2), "window": (0, 1, 7), "maskWords": (1, 2, 3)}
        small["columns"] = (1, 200)
        found.update({name: self.rng.choice(small[name]) for name in OPS[op].attributes if name in small})
        if "heads" in OPS[op].attributes:
            found["heads"] = found["kvHeads"] * self.rng.choice((1, 2, 3))
        return found

    def _symbols(self, op: str, attributes: dict[str, Any]) -> dict[str, Dimension]:
        rng = self.rng
        symbols: dict[str, Dimension] = {}
        for operand in (*OPS[op].inputs.values(), *OPS[op].outputs.values()):
            for symbol in _SYMBOL.findall(" ".join(operand.shape)):
                if symbol not in symbols and symbol in SIZES:
                    symbols[symbol] = symbol if rng.random() < 0.8 else rng.choice((1, 2, 3))
                elif symbol not in symbols:
                    symbols[symbol] = rng.choice(_NUMBERS)
        if "headDim" in attributes and "W" in symbols:
            symbols["W"] = attributes["headDim"] * rng.choice((1, 2, 3))
        if op in ("rope", "rope_append"):
            symbols["R"] = rng.randint(1, attributes["headDim"] // 2)
        if op == "sample":
            symbols["V"] = rng.randint(1, 32 * attributes["maskWords"])
            symbols["R"] = self._size(symbols["S"]) + rng.randrange(3)
        return symbols

    def _size(self, size: Dimension) -> int:
        return size if isinstance(size, int) else resolve((size,), self.sizes)[0]

    def _content(
        self, name: str, dtype: str, shape: tuple[Dimension, ...], symbols: dict[str, Dimension]
    ) -> np.ndarray:
        """At the step's sizes for what comes with it, at the limits for a tensor: made for the larger, rows are cut."""
        full = resolve(shape, self.limits)
        if dtype != "int32":
            if name == "settings":
                row = [self.rng.choice((0.0, 0.7)), 0.9, 0.1, self.rng.choice((1.0, 1.3)), 0.5, 0.5]
                return np.tile(np.array(row, np.float32), (full[0], 1))
            floats = self.numpy.standard_normal(full).astype(np.float32)
            if name == "low":
                self.low = self.numpy.integers(-127, 128, full, dtype=np.int8)
                self.low[:, symbols["K"] :] = 0
                return self.low
            if name in ("keys", "values"):
                return self.numpy.integers(-127, 128, full).astype(dtype)
            if name == "steps":
                return np.abs(floats)
            if dtype == "int8":
                return np.zeros(full, np.int8)  # no carries, and weights that only `load` can give
            return floats if dtype == "float32" else (floats.view(np.uint32) >> 16).astype(np.uint16) & 0xBFFF
        size = {symbol: self._size(value) for symbol, value in symbols.items()}
        most = {"tokens": "V", "history": "V", "biasIds": "V", "sampled": "V", "targets": "V", "positions": "P"}
        most |= {"index": "T", "pages": "G"}
        if name in ("starts", "historyStarts", "biasStarts"):
            total = size[{"starts": "T", "historyStarts": "H", "biasStarts": "D"}[name]]
            cuts = sorted(self.rng.randint(0, total) for _ in range(max(0, self._size(shape[0]) - 2)))
            return np.array(([0, *cuts, total] + [total] * full[0])[: full[0]], np.int32)
        if name == "lengths":
            room = 16 * min(size["J"], size["G"])
            return np.full(full, max(0, min(room, size["T"])), np.int32)
        if name == "slots":
            slots = self.numpy.permutation(size["G"] * 16).astype(np.int32)
            return np.resize(slots, full)  # some twice where there are too few
        if name == "carries":
            carries = np.zeros(full, np.int32)
            carries[:, 1] = self.low.sum(axis=1, dtype=np.int32)
            return carries
        if name == "counters":
            row = [self.rng.choice((0, 3)), 1, 2, 3, self.rng.choice((-1, 0, 5)), self.rng.choice((-1, 0)), 0]
            return np.tile(np.array(row, np.int32), (full[0], 1))
        high = size.get(most.get(name, ""), 1)
        return self.numpy.integers(0, max(1, high), full, dtype=np.int32)

    def _reusable(self, dtype: str, shape: tuple[Dimension, ...], mutated: bool) -> int | None:
        if dtype in ("int8", "int32") or mutated or self.rng.random() < 0.4:
            return None
        fit = [i for i, v in enumerate(self.values) if v["dtype"] == dtype and self.shapes[i] == shape]
        fit = [i for i in fit if self.values[i]["layout"] == "plain"]
        return self.rng.choice(fit) if fit else None

    def _place(
        self, dtype: str, layout: str, shape: tuple[Dimension, ...], content: np.ndarray | None, in_tensor: bool
    ) -> int:
        if in_tensor or self.rng.random() < 0.3:
            full = resolve(shape, self.limits)
            handle = self._allocate(dtype, layout, full)
            if content is not None:
                self.program.contents[handle] = content.tobytes()
            elif len(full) == 2:
                self.program.packed[handle] = (dtype, *full)
            return self._value(dtype, layout, shape, {"type": "handle", "handle": handle})
        index = self._value(dtype, layout, shape, {"type": "input"})
        assert content is not None
        self.inputs[index] = np.ascontiguousarray(content[tuple(slice(size) for size in resolve(shape, self.sizes))])
        return index

    def _result(self, dtype: str, shape: tuple[Dimension, ...]) -> int:
        if self.rng.random() < 0.2:
            handle = self._allocate(dtype, "plain", resolve(shape, self.limits))
            return self._value(dtype, "plain", shape, {"type": "handle", "handle": handle})
        offset = self.arena
        if len(shape) == 2 and isinstance(shape[1], int) and self.rng.random() < 0.2:
            wide = (shape[0], shape[1] + 5)
            self.arena += nbytes(dtype, "plain", resolve(wide, self.limits))
            parent = self._value(dtype, "plain", wide, {"type": "arena", "offset": offset})
            return self._value(dtype, "plain", shape, {"type": "columns", "of": parent, "column": 3})
        self.arena += nbytes(dtype, "plain", resolve(shape, self.limits))
        return self._value(dtype, "plain", shape, {"type": "arena", "offset": offset})

    def _allocate(self, dtype: str, layout: str, shape: tuple[int, ...]) -> int:
        self.handle += 1
        allocation = {"handle": self.handle, "dtype": dtype, "layout": layout, "shape": list(shape)}
        self.program.allocations.append(allocation)
        return self.handle

    def _value(self, dtype: str, layout: str, shape: tuple[Dimension, ...], place: Message) -> int:
        sizes = [
            {"type": "fixed", "size": size} if isinstance(size, int) else {"type": "symbol", "symbol": size}
            for size in shape
        ]
        self.values.append({"dtype": dtype, "layout": layout, "shape": sizes, "place": place})
        self.shapes.append(shape)
        return len(self.values) - 1


def _attribute(attribute: Any, value: Any) -> Message:
    if attribute.type == "enum":
        return {"type": "enum", "value": value}
    if attribute.type == "boolean":
        return {"type": "boolean", "boolean": value}
    if attribute.type == "integer":
        return {"type": "integer", "integer": value}
    return {"type": "number", "number": value}
