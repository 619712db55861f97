"""A rank of a group: the groups of src/runtime/abi.h, for every backend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ErrorCode, KernelError
from ..program.spec import AttributeValue
from ..tensor import ALIGNMENT
from .library import load_library


class Group:
    """This process as rank `rank` of `ranks` that run programs together and meet in `memory`. They are `stages`, one
    after the other, of equally many ranks.

    `memory`: writable uint8, the same bytes for every rank, zeroed before the first one opens it; held until `close`.
    `deadline_ms`: how long a rank waits for another one in a gather. Not thread-safe: one caller at a time.
    Raises KernelError OCTAVO_BAD_ARGUMENT, and OCTAVO_MISSING_DEPENDENCY where the CPU library cannot be built.
    """

    def __init__(self, memory: np.ndarray, rank: int, ranks: int, deadline_ms: int, stages: int = 1) -> None:
        self._pointer = None
        if not 0 <= rank < ranks:
            raise KernelError(ErrorCode.BAD_ARGUMENT, f"rank {rank} of a group of {ranks}")
        if stages < 1 or ranks % stages:
            raise KernelError(
                ErrorCode.BAD_ARGUMENT, f"{stages} stages of equally many ranks cannot be made of {ranks}"
            )
        if deadline_ms < 1:
            raise KernelError(ErrorCode.BAD_ARGUMENT, f"a deadline of {deadline_ms} ms; it must be at least 1")
        library = load_library()
        least = library.octavo_group_least_bytes(ranks, stages)
        if memory.nbytes < least:
            text = f"{memory.nbytes} bytes of shared memory for a group of {ranks} ranks, which needs at least {least}"
            raise KernelError(ErrorCode.BAD_ARGUMENT, text)
        if memory.ctypes.data % ALIGNMENT:
            raise KernelError(ErrorCode.BAD_ARGUMENT, f"a group's memory begins at a multiple of {ALIGNMENT} bytes")
        self.rank, self.ranks, self.stages, self.bytes = rank, ranks, stages, memory.nbytes
        self._library, self._memory = library, memory
        self._pointer = library.octavo_group_open(memory.ctypes.data, memory.nbytes, rank, ranks, stages, deadline_ms)
        if not self._pointer:
            raise KernelError(ErrorCode.OUT_OF_MEMORY, "no memory for the group")

    @property
    def stage(self) -> int:
        """Which of its stages this rank is in."""
        return self.rank * self.stages // self.ranks

    @property
    def pointer(self) -> int:
        """The library's group. Raises KernelError OCTAVO_DISPOSED."""
        if not self._pointer:
            raise KernelError(ErrorCode.DISPOSED, "the group was closed")
        return self._pointer

    def check(self) -> None:
        """Raise KernelError OCTAVO_GROUP_BROKEN once an exchange has failed or the group was aborted."""
        reason = self._library.octavo_group_error(self.pointer)
        if reason is not None:
            raise KernelError(ErrorCode.GROUP_BROKEN, reason.decode())

    def gather(self, index: int, x: np.ndarray, columns: int, first: int) -> np.ndarray:
        """The op `gather`, number `index` of its program: x float32 [T, K] -> [T, columns] of all ranks.

        Raises KernelError OCTAVO_GROUP_BROKEN.
        """
        own = np.ascontiguousarray(x, np.float32)
        y = np.empty((own.shape[0], columns), np.float32)
        failed = self._library.octavo_group_gather(
            self.pointer, own.ctypes.data, y.ctypes.data, own.shape[0], own.shape[1], columns, first, index
        )
        if failed:
            self.check()
        return y

    def send(self, index: int, x: np.ndarray) -> None:
        """The op `send`, number `index` of its program: x float32 [T, K]. Raises KernelError OCTAVO_GROUP_BROKEN."""
        rows = np.ascontiguousarray(x, np.float32)
        if self._library.octavo_group_send(self.pointer, rows.ctypes.data, *rows.shape, index):
            self.check()

    def receive(self, index: int, rows: int, columns: int) -> np.ndarray:
        """The op `receive`, number `index` of its program: [rows, columns]. Raises KernelError OCTAVO_GROUP_BROKEN."""
        y = np.empty((rows, columns), np.float32)
        if self._library.octavo_group_receive(self.pointer, y.ctypes.data, rows, columns, index):
            self.check()
        return y

    def exchange(
        self, op: str, index: int, x: np.ndarray, attributes: Mapping[str, AttributeValue]
    ) -> np.ndarray | None:
        """Number `index` of its program's ops `op` that ranks do together, on its only input: its result, if any.

        Raises KernelError OCTAVO_GROUP_BROKEN.
        """
        if op == "send":
            return self.send(index, x)
        columns = int(attributes["columns"])
        if op == "receive":
            return self.receive(index, x.shape[0], columns)
        return self.gather(index, x, columns, int(attributes["first"]))

    def close(self) -> None:
        """Let the memory go. Programs of this group must be closed before."""
        if self._pointer:
            self._library.octavo_group_close(self._pointer)
            self._pointer = None
            del self._memory  # a mapping that nothing else holds goes with it

    def __del__(self) -> None:
        if getattr(self, "_pointer", None):
            self.close()
