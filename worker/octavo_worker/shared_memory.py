"""Payloads through files in /dev/shm, made by the orchestrator: one copy on each side and none through a socket."""

from __future__ import annotations

import os

import numpy as np
from octavo_kernels import KernelError

from .generated.messages import SharedMemory


class SharedFolder:
    """Only files directly inside the folder named at the start are touched, whatever a message says."""

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else os.path.normpath(folder)

    def read_into(self, source: SharedMemory, target: np.ndarray) -> None:
        """Fill `target` (uint8) from the file."""
        view = memoryview(target)
        self._transfer(source, view, lambda fd, part, offset: os.preadv(fd, [part], offset), os.O_RDONLY)

    def write_from(self, source: np.ndarray, target: SharedMemory) -> None:
        """All of `source` (uint8) into the file."""
        view = memoryview(source)
        self._transfer(target, view, lambda fd, part, offset: os.pwrite(fd, part, offset), os.O_WRONLY)

    def _transfer(self, shared: SharedMemory, view: memoryview, move, flags: int) -> None:
        if self._folder is None or os.path.dirname(os.path.normpath(shared.path)) != self._folder:
            raise KernelError("OCTAVO_PROTOCOL", f"{shared.path} is not in this pool's shared memory")
        if shared.bytes != len(view):
            raise KernelError("OCTAVO_PROTOCOL", f"{shared.bytes} bytes of shared memory for {len(view)} bytes of data")
        try:
            fd = os.open(shared.path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would wait
        except OSError as error:
            raise KernelError("OCTAVO_FILE_NOT_READABLE", f"{shared.path}: {error.strerror}") from error
        try:
            done = 0
            while done < len(view):
                moved = move(fd, view[done : done + (1 << 30)], shared.offset + done)
                if moved == 0:
                    text = f"{shared.path} ends {len(view) - done} bytes early"
                    raise KernelError("OCTAVO_FILE_NOT_READABLE", text)
                done += moved
        except OSError as error:
            raise KernelError("OCTAVO_FILE_NOT_READABLE", f"{shared.path}: {error.strerror}") from error
        finally:
            os.close(fd)
