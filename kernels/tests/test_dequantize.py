"""Weight files as numbers. A user would lose: a model whose weights are what its file says."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from octavo_kernels import Backend, SourcePart
from octavo_kernels.generated.source_types import SOURCE_TYPES
from octavo_kernels.reference.dequantize import dequantize

# Where the float16 scales and minima of a block stand; every other byte may be anything.
_HALVES = {
    "Q8_0": [0],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}
_TYPES = ["F32", "F16", "BF16", *_HALVES]
# Largest, smallest normal, smallest subnormal, zeros of both signs.
_EXTREME_HALVES = np.array([65504, -65504, 2**-14, 2**-24, -(2**-24), 0.0, -0.0], np.float16)


def file_bytes(kind: str, count: int) -> np.ndarray:
    """`count` elements as a file holds them: random, then all bits clear and all set, under extreme scales."""
    rng = np.random.default_rng(len(kind) * 1000 + count)
    if kind == "F32":
        return (rng.standard_normal(count) * 10.0 ** rng.integers(-40, 38, count)).astype(np.float32).view(np.uint8)
    if kind == "F16":
        halves = rng.standard_normal(count).astype(np.float16)
        halves[: _EXTREME_HALVES.size] = _EXTREME_HALVES
        return halves.view(np.uint8)
    if kind == "BF16":
        return (rng.standard_normal(count).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    blocks = rng.integers(0, 256, (count // SOURCE_TYPES[kind].elements, SOURCE_TYPES[kind].bytes), dtype=np.uint8)
    blocks[-2], blocks[-1] = 0, 255
    for place, byte in enumerate(_HALVES[kind]):
        halves = rng.standard_normal(len(blocks)).astype(np.float16)
        extremes = np.roll(_EXTREME_HALVES, place)
        halves[: extremes.size] = extremes
        blocks[:, byte : byte + 2] = halves.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(-1)


def by_gguf(kind: str, data: np.ndarray) -> np.ndarray:
    """The same numbers by ggml's own Python package."""
    return gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind]).astype(np.float32).reshape(-1)


def load_float(backend: Backend, part: SourcePart, shape: tuple[int, ...], layout: str = "plain") -> np.ndarray:
    target = backend.allocate("float32", layout, shape)
    backend.load("float", [part], target, None)
    return backend.read(target).view(np.float32).reshape(shape)


@pytest.mark.parametrize("kind", _TYPES)
@pytest.mark.parametrize("layout", ["plain", "packed"])
def test_numbers_are_those_of_ggml(kind: str, layout: str, backend: Backend, tmp_path: Path):
    rows, columns = 37, 512
    data = file_bytes(kind, rows * columns)
    path = tmp_path / "weights"
    path.write_bytes(b"\1\2\3" + data.tobytes())  # rows in a file begin at any byte
    part = SourcePart(str(path), 3, data.size, kind, rows, columns)
    found = load_float(backend, part, (rows, columns), layout)
    assert np.array_equal(found.view(np.uint32), by_gguf(kind, data).reshape(rows, columns).view(np.uint32))


@pytest.mark.parametrize("kind", ["F64", "I8"])
def test_types_that_ggml_does_not_dequantise(kind: str, backend: Backend, tmp_path: Path):
    x = np.random.default_rng(1).standard_normal((5, 7)) * 100
    x = x.astype({"F64": np.float64, "I8": np.int8}[kind])
    (tmp_path / "weights").write_bytes(x.tobytes())
    part = SourcePart(str(tmp_path / "weights"), 0, x.nbytes, kind, 5, 7)
    assert np.array_equal(load_float(backend, part, (5, 7)), x.astype(np.float32))


@pytest.mark.parametrize("kind", _HALVES)
def test_the_reference_gives_one_block_as_ggml(kind: str):
    data = file_bytes(kind, 10 * SOURCE_TYPES[kind].elements)
    for start in range(0, data.size, SOURCE_TYPES[kind].bytes):
        block = data[start : start + SOURCE_TYPES[kind].bytes]
        assert np.array_equal(dequantize(kind, block, SOURCE_TYPES[kind].elements), by_gguf(kind, block))
