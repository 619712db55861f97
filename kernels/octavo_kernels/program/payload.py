"""The payload of a step: arrays one after the other, each at the next multiple of 64 bytes, C-contiguous."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import ErrorCode, KernelError
from ..generated.ops import SIZES
from ..tensor import ALIGNMENT, Reserve, round_up, unlimited
from .spec import ProgramSpec, Sizes, resolve

# A program may return a value many times over: 64 MiB and more are asked for.
_LARGE = 64 << 20

# bfloat16 has no numpy type: its bits are shown.
NUMPY_DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
    "int8": np.dtype(np.int8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
}


def check_sizes(spec: ProgramSpec, sizes: Sizes) -> dict[str, int]:
    """The sizes of a step, all of SIZES, each checked against the program's limit."""
    checked = {}
    for name in SIZES:
        size, limit = sizes.get(name, 0), spec.limits[name]
        if not 0 <= size <= limit:
            raise KernelError(ErrorCode.BAD_ARGUMENT, f"step: {name} is {size}; this program takes 0..{limit}")
        checked[name] = size
    return checked


class PayloadLayout:
    """Where the arrays of the values `ids` lie in a payload. The places at the last step's sizes are kept: nearly every
    decode step has the sizes of the one before, and what is computed between two steps nothing else hides.
    """

    def __init__(self, spec: ProgramSpec, ids: Sequence[int]) -> None:
        self._values = [(spec.values[index].shape, NUMPY_DTYPES[spec.values[index].dtype]) for index in ids]
        self._sizes: list[int] = []
        self._places: list[tuple[int, tuple[int, ...], np.dtype]] = []
        self._bytes = 0

    def bytes(self, sizes: Sizes) -> int:
        """Length of a payload. `sizes`: all of SIZES."""
        self._at(sizes)
        return self._bytes

    def split(self, sizes: Sizes, payload: memoryview) -> list[np.ndarray]:
        """The arrays of a payload, as views of it. Raises KernelError when its length is not what the sizes say."""
        places = self._at(sizes)
        if payload.nbytes != self._bytes:
            text = f"step: a payload of {payload.nbytes} bytes; these sizes make it {self._bytes}"
            raise KernelError(ErrorCode.BAD_ARGUMENT, text)
        # The constructor alone: slice, view and reshape are three calls where caches are cold (see validate/step.py).
        return [np.ndarray(shape, dtype, payload, start) for start, shape, dtype in places]

    def pack(self, sizes: Sizes, arrays: Sequence[np.ndarray], reserve: Reserve = unlimited) -> np.ndarray:
        """A payload of these arrays: uint8, the gaps zero. Their shapes and dtypes are those of the values."""
        places = self._at(sizes)
        payload = self.empty(sizes, reserve)
        payload.fill(0)
        for (start, _, _), array in zip(places, arrays, strict=True):
            payload[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return payload

    def empty(self, sizes: Sizes, reserve: Reserve) -> np.ndarray:
        """Room for a payload: uint8, with any contents. `reserve` is asked when it is large."""
        self._at(sizes)
        if self._bytes >= _LARGE:
            reserve(self._bytes)
        return np.empty(self._bytes, np.uint8)

    def _at(self, sizes: Sizes) -> list[tuple[int, tuple[int, ...], np.dtype]]:
        """First byte, shape and dtype of each array."""
        wanted = list(sizes.values())
        if wanted != self._sizes:
            self._places, end = [], 0
            for shape, dtype in self._values:
                start, numbers = round_up(end, ALIGNMENT), resolve(shape, sizes)
                self._places.append((start, numbers, dtype))
                end = start + math.prod(numbers) * dtype.itemsize
            self._bytes, self._sizes = end, wanted
        return self._places
