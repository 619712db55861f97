"""Running one op on the CPU backend and by the reference's definition, with numpy arrays in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
from octavo_kernels import Backend, open_backend
from octavo_kernels.generated.ops import OPS
from proofs.conformance.case import Case, run_case

_DTYPES = {name: name for name in ("float32", "float16", "int32", "int16", "int8")} | {"uint16": "bfloat16"}


@cache
def cpu(threads: int = 1, isa: str | None = None) -> Backend:
    """Kept open: a team of threads starts slowly."""
    return open_backend("cpu", threads, isa)


@cache
def reference() -> Backend:
    return open_backend("reference", 1)


def every_cpu() -> Iterator[Backend]:
    """Each instruction set of this machine with one, two and four threads; slowest first."""
    for isa in cpu().isas:
        for threads in (1, 2, 4):
            yield cpu(threads, isa)


def run(
    backend: Backend,
    op: str,
    inputs: Mapping[str, np.ndarray | None],
    outputs: Mapping[str, tuple[int, ...]],
    places: str = "step",
    packed: tuple[str, ...] = (),
    **attributes: float | bool | str,
) -> dict[str, np.ndarray]:
    """Outputs (shapes as given) and mutated inputs by name; uint16 arrays are the bits of bfloat16."""
    present = {name: array for name, array in inputs.items() if array is not None}
    dtypes = {name: _DTYPES[str(array.dtype)] for name, array in present.items()}
    results = {name: (OPS[op].outputs[name].dtypes[0], shape) for name, shape in outputs.items()}
    return run_case(backend, Case(op, op, present, dtypes, results, attributes, places, frozenset(packed))).arrays


def same_bits(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    """Whether two results are equal to the last bit."""
    return all(np.array_equal(bits(a[name]), bits(b[name])) for name in a) and a.keys() == b.keys()


def bits(array: np.ndarray) -> np.ndarray:
    """The bytes of an array."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def bfloat16(array: np.ndarray) -> np.ndarray:
    """float32 to the bits of bfloat16, by cutting: for inputs only."""
    return (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)
