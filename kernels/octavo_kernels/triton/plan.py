"""The launches of one capacity, enqueued one by one or as a captured graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..program.spec import Sizes
from .device import Device
from .launch import Launch
from .meeting import Meeting


class StepPlan:
    """`zeroed` before the ops (their counters), then the launches of each op, then `copies` (target, source).

    `meetings`: of ops that have no launches, for ranks meet on the host in their place. Such a plan is not captured.
    """

    def __init__(
        self,
        device: Device,
        ops: Sequence[Sequence[Launch]],
        zeroed: torch.Tensor,
        copies: Sequence[tuple[torch.Tensor, torch.Tensor]],
        captured: bool,
        meetings: Mapping[int, Meeting],
    ) -> None:
        self._meetings = meetings
        self._device, self._ops, self._zeroed, self._copies = device, ops, zeroed, copies
        self._capturable = captured and device.captures and not meetings
        self._replay: Callable[[], None] | None = None
        self._met = False

    def enqueue(self, sizes: Sizes) -> None:
        """Everything between the copy to the device and the copy back. The first time each kernel is compiled and
        loaded, which a capture does not allow: so the graph is captured the second time."""
        if self._replay is None and self._met and self._capturable:
            self._replay = self._device.capture(lambda: self._enqueue_each(sizes))
        if self._replay is not None:
            self._replay()
        else:
            self._enqueue_each(sizes)
        self._met = True

    def enqueue_marked(self, sizes: Sizes, after: Callable[[int], None]) -> list[Any]:
        """One by one, with a mark before each op and after the last; `after` is called with the number of each op when
        its launches are enqueued."""
        self._device.clear(self._zeroed)
        marks = [self._device.mark()]
        for index in range(len(self._ops)):
            self._enqueue_op(index, sizes)
            after(index)
            marks.append(self._device.mark())
        self._copy()
        self._met = True
        return marks

    def _enqueue_each(self, sizes: Sizes) -> None:
        self._device.clear(self._zeroed)
        for index in range(len(self._ops)):
            self._enqueue_op(index, sizes)
        self._copy()

    def _enqueue_op(self, index: int, sizes: Sizes) -> None:
        if index in self._meetings:
            self._meetings[index](sizes)
            return
        for launch in self._ops[index]:
            self._device.launch(launch)

    def _copy(self) -> None:
        for target, source in self._copies:
            self._device.copy(target, source)
