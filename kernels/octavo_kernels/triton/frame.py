"""A program's values and launches at one capacity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ..program.spec import Arena, Columns, Handle, Operation, ProgramSpec, resolve
from .block import InputBlock, OutputBlock
from .buckets import Capacity
from .launch import Context, Launch, Operand
from .views import view


@dataclass(frozen=True)
class Memories:
    """Where a program's values lie, as uint8 tensors of one device (or all on "meta", to measure)."""

    handles: Mapping[int, torch.Tensor]
    arena: torch.Tensor | None
    inputs: torch.Tensor
    outputs: torch.Tensor


class Frame:
    """Views of all values at a capacity, made when they are asked for.

    What the program returns lies in the output block instead of the arena: nothing else may share its bytes there
    either, so that it needs no copy. Other results are copied into the block at the end (`copies`).
    """

    def __init__(
        self, spec: ProgramSpec, capacity: Capacity, returned: Sequence[int], slots: int, at: Memories
    ) -> None:
        self._spec, self._at = spec, at
        self._sizes = capacity.named()
        self.inputs = InputBlock(spec, capacity)
        self.outputs = OutputBlock(spec, returned, slots, capacity)
        self._moved = {index for index in returned if isinstance(spec.values[index].place, Arena)}
        self._views: dict[int, torch.Tensor] = {}
        #: uint8, the counters of all ops.
        self.all_counters = at.outputs[: 16 * slots]

    def view(self, index: int) -> torch.Tensor:
        """A value's memory at the capacity."""
        found = self._views.get(index)
        if found is None:
            found = self._views[index] = self._view(index)
        return found

    def operand(self, index: int) -> Operand:
        """A value as plans take it."""
        place = self.inputs.sizes.index(self._spec.values[index].shape[0])
        return Operand(self.view(index), self._at.inputs[4 * place : 4 * place + 4].view(torch.int32))

    def plan(self, context: Context, operation: Operation) -> list[Launch]:
        """The launches of an op; of one that ranks only do together (`meeting.py`) there are none."""
        from .ops import PLANS  # Not before a device was opened: it says whether kernels are compiled or interpreted.

        named = {name: self.operand(index) for name, index in {**operation.inputs, **operation.outputs}.items()}
        plan = PLANS.get(operation.op)
        return [] if plan is None else plan(context, **named, **operation.attributes)

    def counters(self, slot: int) -> torch.Tensor:
        """int64 [2], those of one op."""
        return self._at.outputs[16 * slot : 16 * slot + 16].view(torch.int64)

    def copies(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(target, source) of what is returned but does not lie in the output block."""
        outputs = self.outputs.places.offsets
        return [(self._returned(index), self.view(index)) for index in outputs if index not in self._moved]

    def _returned(self, index: int) -> torch.Tensor:
        value, places = self._spec.values[index], self.outputs.places
        return view(self._at.outputs, value.dtype, value.layout, places.shapes[index], places.offsets[index])

    def _view(self, index: int) -> torch.Tensor:
        if index in self._moved:
            return self._returned(index)
        value = self._spec.values[index]
        shape = resolve(value.shape, self._sizes)
        match value.place:
            case Handle(handle):
                return view(self._at.handles[handle], value.dtype, value.layout, shape)
            case Arena(offset):
                assert self._at.arena is not None
                return view(self._at.arena, value.dtype, value.layout, shape, offset)
            case Columns(of, column):
                return self.view(of)[:, column : column + shape[1]]
            case _:
                return view(self._at.inputs, value.dtype, value.layout, shape, self.inputs.places.offsets[index])
