"""The launches of one capacity, enqueued one by one or as a captured graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .device import Device
from .launch import Launch


class StepPlan:
    """`zeroed` before the ops (their counters), then the launches of each op, then `copies` (target, source)."""

    def __init__(
        self,
        device: Device,
        ops: Sequence[Sequence[Launch]],
        zeroed: torch.Tensor,
        copies: Sequence[tuple[torch.Tensor, torch.Tensor]],
        captured: bool,
    ) -> None:
        self._device, self._ops, self._zeroed, self._copies = device, ops, zeroed, copies
        self._capturable = captured and device.captures
        self._replay: Callable[[], None] | None = None
        self._met = False

    def enqueue(self) -> None:
        """Everything between the copy to the device and the copy back. The first time each kernel is compiled and
        loaded, which a capture does not allow: so the graph is captured the second time."""
        if self._replay is None and self._met and self._capturable:
            self._replay = self._device.capture(self._enqueue_each)
        if self._replay is not None:
            self._replay()
        else:
            self._enqueue_each()
        self._met = True

    def enqueue_marked(self, after: Callable[[int], None]) -> list[Any]:
        """One by one, with a mark before each op and after the last; `after` is called with the number of each op when
        its launches are enqueued."""
        self._device.clear(self._zeroed)
        marks = [self._device.mark()]
        for index, launches in enumerate(self._ops):
            self._enqueue_op(launches)
            after(index)
            marks.append(self._device.mark())
        self._copy()
        self._met = True
        return marks

    def _enqueue_each(self) -> None:
        self._device.clear(self._zeroed)
        for launches in self._ops:
            self._enqueue_op(launches)
        self._copy()

    def _enqueue_op(self, launches: Sequence[Launch]) -> None:
        for launch in launches:
            self._device.launch(launch)

    def _copy(self) -> None:
        for target, source in self._copies:
            self._device.copy(target, source)
