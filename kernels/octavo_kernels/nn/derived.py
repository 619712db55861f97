"""Forms of a weight that a kernel wants beside it: made when first needed, kept as long as the weight is, never saved.

A module has no state but its parameters and buffers; these can be made again from them at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch.utils.weak import WeakTensorKeyDictionary

Form = TypeVar("Form")


class Derived(Generic[Form]):
    """`make(weight)`, once for each weight and made again after the weight was written to."""

    def __init__(self, make: Callable[[torch.Tensor], Form]) -> None:
        self._make = make
        self._forms: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def of(self, weight: torch.Tensor) -> Form:
        """The form of the weight as it is now."""
        found = self._forms.get(weight)
        state = _state(weight)
        if found is None or found[0] != state:
            found = state, self._make(weight)
            # A form that is the weight itself would keep it alive for ever.
            if found[1] is not weight:
                self._forms[weight] = found
        return found[1]

    def forms(self) -> list[Form]:
        """All that are kept."""
        return [form for _, form in self._forms.values()]

    def clear(self) -> None:
        """Keep none."""
        self._forms.clear()


def _state(weight: torch.Tensor) -> tuple[int, int, torch.Size]:
    """Differs after a write. Inference tensors count no writes: those are taken not to be written to."""
    version = -1 if weight.is_inference() else weight._version
    return weight.data_ptr(), version, weight.shape
