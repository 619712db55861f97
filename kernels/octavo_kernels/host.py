"""Memory of the machine as a backend's memory: what the backends that compute on the CPU share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .backend import DeviceMemory
from .tensor import Tensor, allocate


class HostMemory:
    """See backend.Backend. `write` fills the tensor itself; `read_range` and `expose` show it: no copy."""

    def allocate(self, dtype: str, layout: str, shape: Sequence[int]) -> Tensor:
        return allocate(dtype, layout, tuple(shape))

    def write(self, tensor: Tensor, offset: int, size: int, fill: Callable[[np.ndarray], None]) -> None:
        fill(tensor.memory[offset : offset + size])

    def read_range(self, tensor: Tensor, offset: int, size: int) -> np.ndarray:
        return tensor.memory[offset : offset + size]

    def expose(self, tensor: Tensor) -> np.ndarray:
        return tensor.memory

    def memory(self) -> DeviceMemory | None:
        return None
