"""The launches of one capacity, enqueued one by one or as captured graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from ..program.spec import Sizes
from .device import Device
from .launch import Launch
from .meeting import Meeting


class StepPlan:
    """`zeroed` before the ops (their counters), then the launches of each op, then `copies` (target, source).

    `meetings`: of ops that have no launches, for ranks meet on the host in their place. What lies between two of them
    is a part, which is captured by itself.
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
        self._device, self._ops, self._zeroed, self._copies = device, ops, zeroed, copies
        self._meetings = meetings
        cuts = sorted(meetings)
        self._parts = [range(start, end) for start, end in zip((0, *(cut + 1 for cut in cuts)), (*cuts, len(ops)))]
        self._after = [meetings[cut] for cut in cuts]
        self._capturable = captured and device.captures
        self._replays: list[Callable[[], None]] | None = None
        self._loaded = False

    def enqueue(self, sizes: Sizes) -> None:
        """Everything between the copy to the device and the copy back. The first time each kernel is compiled and
        loaded, which a capture does not allow: so graphs are captured the second time."""
        if self._replays is None and self._loaded and self._capturable:
            self._replays = [self._captured(number) for number in range(len(self._parts))]
        for number in range(len(self._parts)):
            if self._replays is None:
                self._enqueue_part(number)
            else:
                self._replays[number]()
            if number < len(self._after):
                self._after[number](sizes)
        self._loaded = True

    def enqueue_marked(self, sizes: Sizes, after: Callable[[int], None]) -> list[Any]:
        """One by one, with a mark before each op and after the last; `after` is called with the number of each op when
        its launches are enqueued."""
        self._device.clear(self._zeroed)
        marks = [self._device.mark()]
        for index in range(len(self._ops)):
            if index in self._meetings:
                self._meetings[index](sizes)
            else:
                self._enqueue_op(index)
            after(index)
            marks.append(self._device.mark())
        self._copy()
        self._loaded = True
        return marks

    def _captured(self, number: int) -> Callable[[], None]:
        first, last = number == 0, number == len(self._parts) - 1
        if not (first or (last and self._copies) or any(self._ops[index] for index in self._parts[number])):
            return lambda: None  # a graph of nothing
        return self._device.capture(partial(self._enqueue_part, number))

    def _enqueue_part(self, number: int) -> None:
        if number == 0:
            self._device.clear(self._zeroed)
        for index in self._parts[number]:
            self._enqueue_op(index)
        if number == len(self._parts) - 1:
            self._copy()

    def _enqueue_op(self, index: int) -> None:
        for launch in self._ops[index]:
            self._device.launch(launch)

    def _copy(self) -> None:
        for target, source in self._copies:
            self._device.copy(target, source)
