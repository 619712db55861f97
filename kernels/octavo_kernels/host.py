"""Memory of the machine as a backend's memory: what the backends that compute on the CPU share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .backend import DeviceMemory
from .tensor import Tensor, allocate


class HostMemory:
    """See backend.Backend for each of these."""

    def allocate(self, dtype: str, layout: str, shape: Sequence[int]) -> Tensor:
        """See backend.Backend."""
        return allocate(dtype, layout, tuple(shape))

    def write(self, tensor: Tensor, offset: int, size: int, fill: Callable[[np.ndarray], None]) -> None:
        """See backend.Backend; `fill` writes to the tensor itself."""
        fill(tensor.memory[offset : offset + size])

    def read_range(self, tensor: Tensor, offset: int, size: int) -> np.ndarray:
        """See backend.Backend; no copy."""
        return tensor.memory[offset : offset + size]

    def expose(self, tensor: Tensor) -> np.ndarray:
        """See backend.Backend."""
        return tensor.memory

    def memory(self) -> DeviceMemory | None:
        """None: it is the machine's."""
        return None
