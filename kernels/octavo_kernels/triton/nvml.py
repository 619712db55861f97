"""What NVIDIA's management library knows of a GPU's memory before this process has a context there."""

from __future__ import annotations

import ctypes


class _Memory(ctypes.Structure):
    """nvmlMemory_t"""

    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def used_bytes(uuid: str) -> int | None:
    """Bytes in use of the GPU with this UUID (as torch writes it, without "GPU-"); None where the library says nothing:
    the context's size is then unknown, and is counted as used by others."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    device, memory = ctypes.c_void_p(), _Memory()
    if library.nvmlInit_v2() != 0:
        return None
    try:
        if library.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode(), ctypes.byref(device)) != 0:
            return None
        return (
            memory.total - memory.free if library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0 else None
        )
    finally:
        library.nvmlShutdown()
