"""The payload of a step: arrays one after the other, each at the next multiple of 64 bytes, C-contiguous."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .errors import KernelError
from .generated.ops import BYTES_PER_ELEMENT
from .program import SIZES, ProgramSpec, resolve
from .tensor import ALIGNMENT, round_up

# bfloat16 has no numpy type: its bits are shown.
NUMPY_DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
    "int8": np.dtype(np.int8),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
}


def check_sizes(spec: ProgramSpec, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes of a step, all of SIZES, each checked against the program's limit."""
    checked = {}
    for name in SIZES:
        size, limit = sizes.get(name, 0), spec.limits[name]
        if not 0 <= size <= limit:
            raise KernelError(
                "OCTAVO_BAD_ARGUMENT",
                f"step: {name} is {size}; this program takes 0..{limit}",
            )
        checked[name] = size
    return checked


def places(spec: ProgramSpec, ids: Sequence[int], sizes: Mapping[str, int]) -> tuple[list[tuple[int, int]], int]:
    """(first byte, bytes) of each value of `ids` in a payload, and the bytes of the whole payload."""
    found, end = [], 0
    for index in ids:
        value = spec.values[index]
        start = round_up(end, ALIGNMENT)
        size = math.prod(resolve(value.shape, sizes)) * BYTES_PER_ELEMENT[value.dtype]
        found.append((start, size))
        end = start + size
    return found, end


def split(spec: ProgramSpec, ids: Sequence[int], sizes: Mapping[str, int], payload: memoryview) -> list[np.ndarray]:
    """The arrays of a payload, as views of it. Raises KernelError when its length is not what the sizes say."""
    found, total = places(spec, ids, sizes)
    if payload.nbytes != total:
        raise KernelError(
            "OCTAVO_BAD_ARGUMENT",
            f"step: a payload of {payload.nbytes} bytes; these sizes make it {total}",
        )
    arrays = []
    for index, (start, _) in zip(ids, found, strict=True):
        value = spec.values[index]
        # The constructor alone: slice, view and reshape are three calls where caches are cold (see checks.py).
        arrays.append(np.ndarray(resolve(value.shape, sizes), NUMPY_DTYPES[value.dtype], payload, start))
    return arrays


def pack(
    spec: ProgramSpec,
    ids: Sequence[int],
    sizes: Mapping[str, int],
    arrays: Sequence[np.ndarray],
) -> np.ndarray:
    """A payload of these arrays: uint8, the gaps zero. The arrays have the shapes and dtypes of the values `ids`."""
    found, total = places(spec, ids, sizes)
    payload = np.zeros(total, np.uint8)
    for (start, size), array in zip(found, arrays, strict=True):
        payload[start : start + size] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return payload
