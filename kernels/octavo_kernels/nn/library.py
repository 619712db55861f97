"""The compiled C++ library as an engine: programs of one or two ops, one for each weight and setting.

Its threads are torch's (`torch.set_num_threads`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from ..cpu.backend import CpuBackend
from ..cpu.library import load_library
from ..tensor import Tensor, aligned_bytes, allocate
from .derived import Derived
from .engine import Digits, Engine
from .engine_programs import EngineProgram, exact, linear, published, quantizer
from .packing import pack
from .threads import open_on_torch_threads
from .threshold import Dial

# Rows of one step where rows are independent. Intermediates have room for so many, whatever a call brings.
_ROWS = 256


@dataclass
class _Layer:
    """A weight as the library has it, room for its scale and bias, and its programs by setting."""

    weight: Tensor
    scale: Tensor
    bias: Tensor
    programs: dict[tuple, EngineProgram] = field(default_factory=dict)

    def handles(self, scale: torch.Tensor, bias: torch.Tensor | None) -> dict[str, Tensor]:
        """The tensors of its programs. Scale and bias are copied each time: they are short, and a bias may learn."""
        _fill(self.scale, scale)
        if bias is None:
            return {"weight": self.weight, "scale": self.scale}
        _fill(self.bias, bias)
        return {"weight": self.weight, "scale": self.scale, "bias": self.bias}


class LibraryEngine(Engine):
    """Its methods: see engine.Engine. Any thread may call it; calls wait for each other, as each uses all cores."""

    def __init__(self) -> None:
        """Raises KernelError OCTAVO_MISSING_DEPENDENCY where there is no library and no compiler."""
        load_library()
        self._start()
        # A forked child has this process's memory and none of its threads.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._backend: CpuBackend | None = None
        self._layers: Derived[_Layer] = Derived(_layer)
        self._quantizers: dict[tuple, EngineProgram] = {}
        self._arena = allocate("int8", "plain", (0,))

    def quantize(self, x: torch.Tensor, dial: Dial) -> Digits:
        with self._lock:
            self._ready()
            make = partial(quantizer, x.shape[1], dial, _ROWS)
            program = self._program(self._quantizers, (x.shape[1], dial), make, {})
            low, high, carries, step = self._run(program, [x])
        # What follows the listed groups is anything; a result should not differ between equal calls.
        listed = torch.arange(carries.shape[1]) < 4 + carries[:, :1]
        return low, high, torch.where(listed, carries, 0), step

    def linear_int8(
        self, digits: Digits, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        make = partial(linear, *weight.shape, bias is not None, _ROWS)
        return self._linear(digits, weight, scale, bias, ("linear",), make)

    def int8_linear(
        self, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, dial: Dial
    ) -> torch.Tensor:
        return self._linear(
            [x], weight, scale, bias, (dial,), partial(exact, *weight.shape, bias is not None, dial, _ROWS)
        )

    def linear_published(
        self, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, threshold: float
    ) -> torch.Tensor:
        # Rows of a call belong together, so there is room for all of them; powers of two make few programs.
        rows = max(_ROWS, 1 << (x.shape[0] - 1).bit_length())
        make = partial(published, *weight.shape, bias is not None, threshold, rows)
        return self._linear([x], weight, scale, bias, ("published", threshold, rows), make)

    def _linear(
        self,
        inputs: Sequence[torch.Tensor],
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        setting: tuple,
        make: Callable[[], EngineProgram],
    ) -> torch.Tensor:
        """The result of the weight's program of this setting, made at its first use."""
        with self._lock:
            self._ready()
            layer = self._layers.of(weight)
            program = self._program(layer.programs, (*setting, bias is not None), make, layer.handles(scale, bias))
            return self._run(program, inputs)[0]

    def _ready(self) -> CpuBackend:
        threads = torch.get_num_threads()
        if self._backend is None or self._backend.threads != threads:
            self._forget_programs()
            if self._backend is not None:
                self._backend.close()
            self._backend = open_on_torch_threads()
        return self._backend

    def _forget_programs(self) -> None:
        self._quantizers.clear()
        for layer in self._layers.forms():
            layer.programs.clear()

    def _program(
        self,
        kept: dict[tuple, EngineProgram],
        key: tuple,
        make: Callable[[], EngineProgram],
        handles: dict[str, Tensor],
    ) -> EngineProgram:
        found = kept.get(key)
        if found is None:
            found = make()
            if found.arena_bytes > self._arena.memory.size:
                # One arena for all; programs point into it.
                self._forget_programs()
                self._arena = Tensor("int8", "plain", (found.arena_bytes,), aligned_bytes(found.arena_bytes))
            found.define(self._ready(), handles, self._arena)
            kept[key] = found
        return found

    def _run(self, program: EngineProgram, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """All rows, `program.rows` at a time; a new tensor for each output."""
        parts = [program.run([x[start : start + program.rows] for x in inputs]) for start in program.starts(inputs)]
        return parts[0] if len(parts) == 1 else [torch.cat(pieces) for pieces in zip(*parts, strict=True)]


def _layer(weight: torch.Tensor) -> _Layer:
    outputs = (weight.shape[0],)
    return _Layer(pack(weight), allocate("float32", "plain", outputs), allocate("float32", "plain", outputs))


def _fill(tensor: Tensor, values: torch.Tensor) -> None:
    tensor.memory[: 4 * values.numel()].view("float32")[:] = values.detach().numpy()
