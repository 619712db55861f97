"""Host copies of small device tensors, for the checks of a step's data (`validate/step.py`).

`sample` writes the ids it draws to a tensor on the device, and the next step's ids may point there. The check must look
at them before the step, but a read would wait for the device. So a step brings what it wrote to such tensors back with
its results, and the copy is kept here. It is forgotten when anything else may have written to the tensor (a write, a
user's function), and read anew when it is asked for: never in the steps of a model that runs.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from ..tensor import Tensor

# What is larger (weights that `quantize_weight` looks at) is read each time: a second copy would cost memory.
KEPT_TO = 64 * 1024


class Mirrors:
    """`read`: a tensor's bytes, from the device."""

    def __init__(self, read: Callable[[Tensor], np.ndarray]) -> None:
        self._read = read
        self._kept: WeakKeyDictionary[Tensor, np.ndarray] = WeakKeyDictionary()

    def of(self, tensor: Tensor) -> np.ndarray:
        """The tensor's content, uint8."""
        found = self._kept.get(tensor)
        if found is None:
            found = self._read(tensor)
            if found.nbytes <= KEPT_TO:
                self._kept[tensor] = found
        return found

    def keep(self, tensor: Tensor) -> None:
        """Read a small tensor's content, if it is not known."""
        if tensor.memory.nbytes <= KEPT_TO:
            self.of(tensor)

    def put(self, tensor: Tensor, content: np.ndarray) -> None:
        """What a step left in the tensor, uint8; copied."""
        self._kept[tensor] = content.copy()

    def forget(self, tensor: Tensor) -> None:
        self._kept.pop(tensor, None)
