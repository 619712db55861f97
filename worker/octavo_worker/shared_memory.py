"""Payloads through memory shared with the orchestrator: one copy on each side and none through a socket."""

from __future__ import annotations

import mmap
import os

import numpy as np
from octavo_kernels import ErrorCode, KernelError

from .generated.messages import SharedMemory


class SharedFile:
    """A file without a name in /dev/shm, whose descriptor this process has inherited."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

    def read_into(self, source: SharedMemory, target: np.ndarray) -> None:
        """Fill `target` (uint8) from the file."""
        self._transfer(source, memoryview(target), lambda fd, part, offset: os.preadv(fd, [part], offset))

    def write_from(self, source: np.ndarray, target: SharedMemory) -> None:
        """All of `source` (uint8) into the file."""
        self._transfer(target, memoryview(source), os.pwrite)

    def map(self, shared: SharedMemory) -> np.ndarray:
        """A range of the file itself (uint8), for as long as the array is there. It begins at a page."""
        descriptor = self._open()
        if not shared.bytes:
            raise KernelError(ErrorCode.PROTOCOL, "a mapping of no bytes")  # to the system: of all that follow
        if shared.offset % mmap.ALLOCATIONGRANULARITY:
            text = f"shared memory at {shared.offset}: a mapping begins at a multiple of {mmap.ALLOCATIONGRANULARITY}"
            raise KernelError(ErrorCode.PROTOCOL, text)
        try:
            self._check_range(descriptor, shared)
            return np.frombuffer(mmap.mmap(descriptor, shared.bytes, offset=shared.offset), np.uint8)
        except OSError as error:
            raise KernelError(ErrorCode.OUT_OF_MEMORY, f"shared memory: {error.strerror}") from error

    def _open(self) -> int:
        if self._descriptor is None:
            raise KernelError(ErrorCode.PROTOCOL, "this worker was started without shared memory")
        return self._descriptor

    @staticmethod
    def _check_range(descriptor: int, shared: SharedMemory) -> None:
        size = os.fstat(descriptor).st_size
        if shared.offset + shared.bytes > size:  # Writing would make the file longer than its owner knows.
            text = f"{shared.bytes} bytes at {shared.offset} of shared memory, which has {size}"
            raise KernelError(ErrorCode.FILE_NOT_READABLE, text)

    def _transfer(self, shared: SharedMemory, view: memoryview, move) -> None:
        descriptor = self._open()
        if shared.bytes != len(view):
            raise KernelError(
                ErrorCode.PROTOCOL, f"{shared.bytes} bytes of shared memory for {len(view)} bytes of data"
            )
        try:
            self._check_range(descriptor, shared)
            done = 0
            while done < len(view):
                moved = move(descriptor, view[done : done + (1 << 30)], shared.offset + done)
                if moved == 0:
                    raise KernelError(ErrorCode.FILE_NOT_READABLE, "shared memory became smaller")
                done += moved
        except OSError as error:
            raise KernelError(ErrorCode.FILE_NOT_READABLE, f"shared memory: {error.strerror}") from error
