"""What ranks do together, in the middle of a step: by way of the host, where the ranks' memory is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..program.exchanges import exchanges_of
from ..program.spec import ProgramSpec, Sizes, resolve
from .device import Device
from .frame import Frame
from .views import flat_bytes

if TYPE_CHECKING:
    from ..cpu.group import Group

#: What stands in a plan in place of an op's launches. It is called with the sizes of the step.
Meeting = Callable[[Sizes], None]


class Meetings:
    """The ops of a program that ranks do together, and which of its kind each is; none without a group."""

    def __init__(self, spec: ProgramSpec, device: Device, group: Group | None) -> None:
        self._spec, self._device, self._group = spec, device, group
        self.ops = exchanges_of(spec) if group is not None else {}

    def of(self, frame: Frame) -> dict[int, Meeting]:
        """By op, on the values of a frame."""
        return {op: partial(self._meet, frame, op) for op in self.ops}

    def check(self) -> None:
        """Raise KernelError OCTAVO_GROUP_BROKEN once the group is of no use."""
        if self._group is not None:
            self._group.check()

    def _meet(self, frame: Frame, op: int, sizes: Sizes) -> None:
        """Only the rows that there are: other ranks know of no capacities."""
        assert self._group is not None
        operation = self._spec.ops[op]
        value = next(iter(operation.inputs.values()))
        shape = resolve(self._spec.values[value].shape, sizes)
        if operation.op == "receive":
            x = np.empty(shape, np.int32)  # it is not looked at
        else:
            x = self._device.get(flat_bytes(frame.view(value)[: shape[0]])).view(np.float32).reshape(shape)
        result = self._group.exchange(operation.op, self.ops[op], x, operation.attributes)
        if result is not None:
            frame.view(operation.outputs["y"])[: shape[0]].copy_(torch.from_numpy(result))
