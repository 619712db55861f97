"""What goes to the device and comes back in a step, each as one copy: how the arrays lie in it at a capacity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..generated.ops import SIZES
from ..program.payload import NUMPY_DTYPES
from ..program.spec import ProgramSpec, Sizes, resolve
from ..tensor import ALIGNMENT, round_up
from .buckets import Capacity

# Sizes whose number the kernels read from the device.
_SYMBOLS = (*SIZES, "S+1", "B+1")
# Rows of these are padded to the capacity; what lies in the others beyond a step's data is found through starts.
_PADDED = ("T", "S", "B", "S+1", "B+1")


class Places:
    """Arrays of program values one after the other at a capacity, after `first` bytes for others.

    The largest is last: what a step does not fill of it then is not copied.
    """

    def __init__(self, spec: ProgramSpec, ids: Sequence[int], capacity: Capacity, first: int) -> None:
        sizes = capacity.named()
        self.shapes = {index: resolve(spec.values[index].shape, sizes) for index in ids}
        self.dtypes = {index: NUMPY_DTYPES[spec.values[index].dtype] for index in ids}
        bytes_of = {index: math.prod(shape) * self.dtypes[index].itemsize for index, shape in self.shapes.items()}
        self.offsets: dict[int, int] = {}
        self.first, end = first, first
        for index in sorted(bytes_of, key=lambda index: bytes_of[index]):
            self.offsets[index] = end = round_up(end, ALIGNMENT)
            end += bytes_of[index]
        self.bytes = end

    def arrays(self, memory: np.ndarray) -> dict[int, np.ndarray]:
        """numpy views of a host copy of the block."""
        return {
            index: np.ndarray(self.shapes[index], self.dtypes[index], memory, offset)
            for index, offset in self.offsets.items()
        }

    def end(self, index: int, rows: int) -> int:
        """The byte after the first `rows` rows of an array; the block's beginning for none."""
        if not rows:
            return self.first
        return self.offsets[index] + rows * math.prod(self.shapes[index][1:]) * self.dtypes[index].itemsize


class InputBlock:
    """The real numbers of rows, then a step's inputs."""

    def __init__(self, spec: ProgramSpec, capacity: Capacity) -> None:
        self._spec = spec
        #: Whose numbers the block's first int32s are: the step's sizes, then the rows that no step changes.
        self.sizes = (*_SYMBOLS, *dict.fromkeys(one.shape[0] for one in spec.values if isinstance(one.shape[0], int)))
        self.places = Places(spec, spec.inputs, capacity, round_up(4 * len(self.sizes), ALIGNMENT))
        self.bytes = self.places.bytes

    def attach(self, staging: np.ndarray) -> None:
        """Fill `staging` from now on (uint8, the block's host side)."""
        self._rows = np.ndarray(len(self.sizes), np.int32, staging)
        self._arrays = self.places.arrays(staging)

    def fill(self, sizes: Sizes, arrays: Sequence[np.ndarray]) -> int:
        """Write a step's data and its padding; the number of bytes from the beginning that the device needs."""
        self._rows[:] = resolve(self.sizes, sizes)
        end = self.places.first
        for index, array in zip(self._spec.inputs, arrays, strict=True):
            target, rows = self._arrays[index], array.shape[0] if array.ndim else 1
            target[tuple(map(slice, array.shape))] = array
            symbol = self._spec.values[index].shape[0]
            if symbol in _PADDED and rows < target.shape[0]:
                # Beyond the last start there is nothing: padded sequences are empty. Everything else is zero.
                target[rows:] = array[-1] if symbol in ("S+1", "B+1") else 0
                rows = target.shape[0]
            end = max(end, self.places.end(index, rows))
        return end


class OutputBlock:
    """Counters of each op that quantises, int64 [slots, 2], then what a step returns."""

    def __init__(self, spec: ProgramSpec, ids: Sequence[int], slots: int, capacity: Capacity) -> None:
        self._spec, self._ids, self._slots = spec, ids, slots
        self.places = Places(spec, ids, capacity, round_up(16 * slots, ALIGNMENT))
        self.bytes = self.places.bytes

    def attach(self, staging: np.ndarray) -> None:
        """Read from `staging` from now on."""
        self.counters = np.ndarray((self._slots, 2), np.int64, staging)
        self._arrays = self.places.arrays(staging)

    def used(self, sizes: Sizes) -> int:
        """Bytes from the beginning that hold a step's results."""
        rows = {index: resolve(self._spec.values[index].shape, sizes)[0] for index in self._ids}
        return max([self.places.first, *(self.places.end(index, count) for index, count in rows.items())])

    def array(self, index: int, sizes: Sizes) -> np.ndarray:
        """A value at a step's sizes, as a view of the staging memory."""
        return self._arrays[index][tuple(map(slice, resolve(self._spec.values[index].shape, sizes)))]
