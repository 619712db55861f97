"""The scratch memory of a device: one for all of its programs, whose steps run one after the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any
from weakref import WeakMethod

from .tensor import Reserve


class Workspace:
    """As large as the largest need of the programs that were there since it was last empty; given back with the last
    program. What is in it means nothing from one step to the next.

    `allocate`: memory of so many bytes, 64-byte aligned. Raises KernelError OCTAVO_OUT_OF_MEMORY.
    """

    def __init__(self, allocate: Callable[[int], Any]) -> None:
        self._allocate = allocate
        # By tickets; weak, so that a program that nobody has any more ends by itself.
        self._programs: dict[int, WeakMethod[Callable[[Any], None]]] = {}
        self._tickets = count()
        self.memory: Any = None
        self.bytes = 0

    def join(self, size: int, reserve: Reserve, moved: Callable[[Any], None]) -> int:
        """A program that needs `size` bytes; returns what it leaves by. Its method `moved` is called now with the
        memory (None: nobody needs any), and when it becomes another: what points to the old one is dropped then.
        Raises KernelError before any effect."""
        if size > self.bytes:
            reserve(size)
            self.memory = self._allocate(size)
            self.bytes = size
            for program in self._programs.values():
                if (tell := program()) is not None:
                    tell(self.memory)
        moved(self.memory)
        ticket = next(self._tickets)
        self._programs[ticket] = WeakMethod(moved, lambda _: self.leave(ticket))
        return ticket

    def leave(self, ticket: int) -> None:
        """A program has ended; once more does nothing."""
        self._programs.pop(ticket, None)
        if not self._programs:
            self.memory, self.bytes = None, 0
