"""An NVIDIA GPU as the executor's device: memory from torch's allocator, kernels by Triton's compiler, CUDA graphs.

Everything goes through torch's current stream of the GPU, so that it is in order with the PyTorch functions that users
call on handles; only captures use a stream of their own, as CUDA demands.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ..backend import Ceiling, DeviceMemory
from ..errors import ErrorCode, KernelError
from ..generated import environment
from . import ceiling, interpreter, jit, nvml
from .launch import Launch

#: The kernels use 16-byte asynchronous copies and int8 tensor cores as sm_80 has them.
OLDEST = (8, 0)
# Uploads go through two pieces of pinned memory: one is filled while the other is copied.
_PIECE = 32 << 20


class CudaDevice:
    """GPU `index` of this process (CUDA_VISIBLE_DEVICES counts). Raises KernelError OCTAVO_NO_DEVICE,
    OCTAVO_MISSING_DEPENDENCY, OCTAVO_BAD_ARGUMENT."""

    backend = "cuda"
    interpreted, captures, of_host = False, True, False

    def __init__(self, index: int) -> None:
        _require_usable(index)
        self._device = torch.device("cuda", index)
        found = torch.cuda.get_device_properties(self._device)
        self.model, self.processors = found.name, found.multi_processor_count
        self.architecture = found.major * 10 + found.minor
        self.isa = f"sm_{self.architecture}"
        before = nvml.used_bytes(str(getattr(found, "uuid", "")))
        torch.cuda.set_device(self._device)  # Functions that users call on handles find it, too.
        torch.zeros(1, device=self._device)
        torch.cuda.synchronize(self._device)
        self._context = 0 if before is None else max(0, self._used() - before)
        self._graphs = torch.cuda.graph_pool_handle()
        self._pieces: list[tuple[torch.Tensor, torch.cuda.Event]] = []

    @contextmanager
    def current(self) -> Iterator[None]:
        """Raises KernelError OCTAVO_WORKER_LOST when the GPU failed: its context refuses everything from then on."""
        with torch.cuda.device(self._device):
            try:
                yield
            except torch.AcceleratorError as error:
                text = f"{self.model} failed, and with it all that this worker has there: {str(error).splitlines()[0]}"
                raise KernelError(ErrorCode.WORKER_LOST, text) from error

    def allocate(self, size: int) -> torch.Tensor:
        try:
            return torch.zeros(size, dtype=torch.uint8, device=self._device)
        except torch.OutOfMemoryError as error:
            text = f"the GPU did not give {size} bytes: {str(error).splitlines()[0]}"
            raise KernelError(ErrorCode.OUT_OF_MEMORY, text) from error

    def put(self, target: torch.Tensor, content: np.ndarray) -> None:
        if not self._pieces:
            self._pieces = [(self.staging(_PIECE), torch.cuda.Event()) for _ in range(2)]
        source = torch.from_numpy(content)
        for number, start in enumerate(range(0, source.numel(), _PIECE)):
            piece, copied = self._pieces[number % 2]
            copied.synchronize()
            part = source[start : start + _PIECE]
            piece[: part.numel()].copy_(part)
            target[start : start + part.numel()].copy_(piece[: part.numel()], non_blocking=True)
            copied.record()

    def get(self, source: torch.Tensor) -> np.ndarray:
        return source.cpu().numpy()

    def staging(self, size: int) -> torch.Tensor:
        try:
            return torch.zeros(size, dtype=torch.uint8, pin_memory=True)
        except RuntimeError as error:
            text = f"the system did not give {size} bytes of pinned memory: {str(error).splitlines()[0]}"
            raise KernelError(ErrorCode.OUT_OF_MEMORY, text) from error

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        target.copy_(source, non_blocking=True)

    def clear(self, target: torch.Tensor) -> None:
        target.zero_()

    def launch(self, launch: Launch) -> None:
        jit.run(launch)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process (a user's function) may use CUDA meanwhile.
        with torch.cuda.graph(graph, pool=self._graphs, capture_error_mode="thread_local"):
            enqueue()
        return graph.replay

    def synchronize(self) -> None:
        torch.cuda.current_stream(self._device).synchronize()

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def nanoseconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> int:
        return round(start.elapsed_time(end) * 1e6)

    def memory(self) -> DeviceMemory:
        # What torch keeps of freed tensors is in use to the driver, though no handle has it.
        torch.cuda.empty_cache()
        total = torch.cuda.mem_get_info(self._device)[1]
        return DeviceMemory(total, self._used(), self._context)

    def measure(self) -> Ceiling:
        return ceiling.measure(self._device)

    def _used(self) -> int:
        free, total = torch.cuda.mem_get_info(self._device)
        return total - free


def _require_usable(index: int) -> None:
    if interpreter.enabled():
        text = "this process runs Triton's interpreter (a backend of it is open, or TRITON_INTERPRET is set)"
        raise KernelError(ErrorCode.BAD_ARGUMENT, f"{text}; open cuda in another process")
    if torch.version.cuda is None:
        text = f"torch {torch.__version__} is built without CUDA; install PyPI's own build of torch"
        raise KernelError(ErrorCode.MISSING_DEPENDENCY, text)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise KernelError(ErrorCode.NO_DEVICE, f"no usable GPU: {_why_not(count)}")
    capability = torch.cuda.get_device_capability(index)
    if capability < OLDEST:
        found = f"{torch.cuda.get_device_name(index)} (sm_{capability[0]}{capability[1]})"
        text = f"cuda:{index} is a {found}; the kernels need sm_{OLDEST[0]}{OLDEST[1]} (Ampere) or later"
        raise KernelError(ErrorCode.NO_DEVICE, text)
    if not (os.environ.get(environment.CC) or shutil.which("gcc") or shutil.which("clang")):
        text = "Triton builds each kernel's launcher with a C compiler, and there is none: install gcc, or set CC"
        raise KernelError(ErrorCode.MISSING_DEPENDENCY, text)


def _why_not(count: int) -> str:
    if count:
        names = ", ".join(f"cuda:{number} {torch.cuda.get_device_name(number)}" for number in range(count))
        return f"this machine has {names}"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return "no NVIDIA GPU is visible (CUDA_VISIBLE_DEVICES, driver)"
