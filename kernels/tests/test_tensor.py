"""Memory of tensors: bytes that agree with the ledger, aligned, zeroed; a refusal instead of a dead worker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from octavo_kernels import Backend, KernelError, nbytes
from octavo_kernels.generated.ops import BYTES_PER_ELEMENT
from octavo_kernels.tensor import allocate
from proofs.conformance.case import fill


@pytest.mark.parametrize(
    ("dtype", "layout", "shape", "expected"),
    [
        ("float32", "plain", (), 64),
        ("float32", "plain", (0, 5), 64),
        ("int8", "plain", (65,), 128),
        ("float16", "plain", (3, 33), 256),
        ("int64", "plain", (8,), 64),
        ("int8", "packed", (1, 1), 16 * 64),
        ("int8", "packed", (17, 65), 32 * 128),
        ("float16", "packed", (17, 65), 32 * 65 * 2),
        ("float32", "packed", (16, 3), 16 * 3 * 4),
    ],
)
def test_bytes_follow_the_formula_that_the_ledger_has_too(dtype, layout, shape, expected):
    assert nbytes(dtype, layout, shape) == expected


@given(
    st.sampled_from(list(BYTES_PER_ELEMENT)),
    st.sampled_from(["plain", "packed"]),
    st.integers(0, 5000),
    st.integers(0, 5000),
)
def test_bytes_hold_every_element_and_are_whole_cache_lines(dtype: str, layout: str, rows: int, columns: int):
    size = nbytes(dtype, layout, (rows, columns))
    assert size >= max(64, rows * columns * BYTES_PER_ELEMENT[dtype]) and size % 64 == 0


@pytest.mark.parametrize(
    ("dtype", "layout", "shape", "code"),
    [
        ("float64", "plain", (1,), "OCTAVO_DTYPE_MISMATCH"),
        ("int8", "tiled", (1, 1), "OCTAVO_DTYPE_MISMATCH"),
        ("int8", "packed", (4,), "OCTAVO_SHAPE_MISMATCH"),
        ("int8", "plain", (-1,), "OCTAVO_SHAPE_MISMATCH"),
    ],
)
def test_tensors_that_cannot_be_are_refused(dtype, layout, shape, code):
    with pytest.raises(KernelError) as refused:
        nbytes(dtype, layout, shape)
    assert refused.value.code == code


@pytest.mark.parametrize("size", [1, 64, 65536, 1 << 22, (1 << 22) + 64])
def test_memory_is_zeroed_and_aligned(size: int):
    memory = allocate("int8", "plain", (size,)).memory
    assert memory.size == nbytes("int8", "plain", (size,)) and not memory.any()
    alignment = 64 if size < 1 << 16 else 4096 if size < 1 << 22 else 1 << 21
    assert memory.ctypes.data % alignment == 0


def test_more_memory_than_there_is_is_refused_and_may_be_tried_again():
    with pytest.raises(KernelError) as refused:
        allocate("float32", "plain", (1 << 50,))
    assert refused.value.code == "OCTAVO_OUT_OF_MEMORY" and refused.value.retryable


@pytest.mark.parametrize("shape", [(1, 1), (16, 64), (17, 65), (33, 130), (3, 0)])
@pytest.mark.parametrize("dtype", ["int8", "float16", "bfloat16", "float32"])
def test_what_is_packed_reads_back_row_by_row(dtype: str, shape: tuple[int, int], backend: Backend):
    rng = np.random.default_rng(shape[0])
    if dtype == "int8":
        array = rng.integers(-127, 128, shape, dtype=np.int8)
        array[:, :1] = 127  # the largest of its row, so that quantising gives the codes back
    else:
        array = rng.integers(-100, 100, shape).astype(np.float32 if dtype == "float32" else np.float16)
        if dtype == "bfloat16":
            array = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    tensor = backend.allocate(dtype, "packed", shape)
    fill(backend, tensor, array)
    assert (backend.read(tensor).view(array.dtype).reshape(shape) == array).all()
