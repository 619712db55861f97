"""A defined program on the reference backend: one op after the other, each by its definition."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..backend import Counters
from ..bound import BoundProgram
from ..program.exchanges import exchanges_of
from ..program.spec import Arena, Columns, Handle, Operation, ProgramSpec, Sizes, resolve
from ..tensor import Reserve, Tensor, Tensors
from .finite import results_finite
from .ops import DEFINITIONS
from .views import view

if TYPE_CHECKING:
    from ..cpu.group import Group


class ReferenceExecutable(BoundProgram):
    """Holds the program and the tensors it names; made by `ReferenceBackend.define` from a validated program."""

    launches = None

    def __init__(
        self, spec: ProgramSpec, tensors: Tensors, arena: Tensor | None, reserve: Reserve, group: Group | None
    ) -> None:
        super().__init__(spec, tensors, arena, reserve)
        self._group = group
        self._exchanges = {} if group is None else exchanges_of(spec)

    def step(
        self, sizes: Sizes, payload: memoryview, profile: np.ndarray | None = None, nonfinite: np.ndarray | None = None
    ) -> tuple[np.ndarray, Counters]:
        began = time.perf_counter_ns()
        if self._group is not None:
            self._group.check()
        sizes, arrays = self._begin(sizes, payload)
        views = self._views(sizes, arrays)
        self._checks.run(sizes, lambda value: _array(views[value]))
        quantized = carries = bad = 0
        for index, operation in enumerate(self._spec.ops):
            started = time.perf_counter_ns()
            if index in self._exchanges and self._group is not None:
                outputs = _exchange(self._group, self._exchanges[index], operation, views)
            else:
                outputs = _run(operation, views)
            if profile is not None:
                profile[index] = time.perf_counter_ns() - started
            if nonfinite is not None:
                nonfinite[index] = not results_finite(operation, views.__getitem__)
            unusable = _unusable_rows(operation, outputs)
            bad += unusable
            if "carries" in outputs:
                columns = views[next(iter(operation.inputs.values()))].shape[1]
                quantized += columns * (outputs["step"].numel() - unusable)
                carries += int(outputs["carries"][:, 3].sum())
        results = [row_major_bytes(views[value]) for value in self._spec.outputs]
        reply = self._reply.pack(sizes, results, self._reserve)
        return reply, Counters(quantized, carries, bad, time.perf_counter_ns() - began)

    def close(self) -> None:
        self._let_go()
        self._group = None

    def _views(self, sizes: Sizes, inputs: list[np.ndarray]) -> list[torch.Tensor]:
        """Every value at this step's sizes, as a view of its memory."""
        brought = dict(zip(self._spec.inputs, inputs, strict=True))
        views: list[torch.Tensor] = []
        for index, value in enumerate(self._spec.values):
            shape = resolve(value.shape, dict(sizes))
            match value.place:
                case Handle(handle):
                    views.append(view(self._tensors[handle].memory, value.dtype, shape))
                case Arena(offset):
                    assert self._arena is not None
                    views.append(view(self._arena.memory, value.dtype, shape, offset))
                case Columns(of, column):
                    views.append(views[of][:, column : column + shape[1]])
                case _:
                    data = brought[index].reshape(-1).view(np.uint8).copy()  # the payload may be read-only
                    views.append(view(data, value.dtype, shape))
        return views


def _run(operation: Operation, views: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    inputs = {name: views[value] for name, value in operation.inputs.items()}
    outputs = DEFINITIONS[operation.op](**inputs, **operation.attributes)
    for name, value in operation.outputs.items():
        views[value].copy_(outputs[name])
    return outputs


def _exchange(group: Group, index: int, operation: Operation, views: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Number `index` of the program's ops of this kind, with the other ranks."""
    x = views[next(iter(operation.inputs.values()))]
    result = group.exchange(operation.op, index, x.numpy(), operation.attributes)
    if result is None:
        return {}
    y = views[operation.outputs["y"]]
    y.copy_(torch.from_numpy(result))
    return {"y": y}


def _unusable_rows(operation: Operation, outputs: dict[str, torch.Tensor]) -> int:
    """Rows with NaN or infinity of the ops that count them."""
    if "carries" in outputs:
        return int(outputs["step"].isnan().sum())
    if operation.op == "sample":
        return int((outputs["ids"] < 0).sum())
    if operation.op == "score":
        return int((outputs["top1"] < 0).sum())
    if operation.op == "pool":
        return int((~outputs["y"].isfinite()).any(1).sum())
    return 0


def _array(x: torch.Tensor) -> np.ndarray:
    """numpy has no bfloat16: its bits."""
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def row_major_bytes(x: torch.Tensor) -> np.ndarray:
    return x.contiguous().reshape(-1).view(torch.uint8).numpy() if x.numel() else np.zeros(0, np.uint8)
