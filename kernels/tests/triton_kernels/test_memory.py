"""Tensors of the Triton backends: what is loaded, written and read is what the other backends have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import opened
from octavo_kernels import KernelError, SourcePart, open_backend
from octavo_kernels.triton.views import tensor_view


@pytest.mark.parametrize(("rows", "columns"), [(5, 64), (33, 100)], ids=["whole groups", "padded rows"])
def test_int8_weights_load_with_the_codes_of_the_reference(rows: int, columns: int, tmp_path: Path):
    file = tmp_path / "weight"
    values = np.random.default_rng(3).standard_normal((rows, columns)).astype(np.float32)
    file.write_bytes(values.tobytes())
    parts = [SourcePart(str(file), 0, values.nbytes, "F32", rows, columns)]
    read = []
    for name in ("reference", "triton-interpreter"):
        backend = opened(name)
        codes, scale = (
            backend.allocate("int8", "packed", (rows, columns)),
            backend.allocate("float32", "plain", (rows,)),
        )
        backend.load("int8", parts, codes, scale)
        read.append((backend.read(codes).tobytes(), backend.read(scale).tobytes()))
    assert read[0] == read[1]


def test_packed_rows_lie_64_bytes_apart_and_are_padded_with_zeros(tmp_path: Path):
    file = tmp_path / "weight"
    file.write_bytes(np.ones((3, 70), np.float32).tobytes())
    backend = opened("triton-interpreter")
    codes, scale = backend.allocate("int8", "packed", (3, 70)), backend.allocate("float32", "plain", (3,))
    backend.load("int8", [SourcePart(str(file), 0, 840, "F32", 3, 70)], codes, scale)
    view = tensor_view(codes)
    assert view.stride() == (128, 1)
    padded = backend.read_range(codes, 0, 3 * 128).view(np.int8).reshape(3, 128)
    assert (padded[:, :70] == 127).all()
    assert not padded[:, 70:].any()


def test_a_load_that_fails_changes_nothing(tmp_path: Path):
    backend = opened("triton-interpreter")
    target = backend.allocate("float32", "plain", (4,))
    missing = SourcePart(str(tmp_path / "missing"), 0, 16, "F32", 4, 1)
    with pytest.raises(KernelError) as refused:
        backend.load("float", [missing], target, None)
    assert refused.value.code == "OCTAVO_FILE_NOT_READABLE"
    assert not backend.read(target).any()


def test_part_of_a_tensor_is_written_and_read():
    backend = opened("triton-interpreter")
    tensor = backend.allocate("int8", "plain", (8,))
    backend.write(tensor, 2, 3, lambda memory: memory.fill(7))
    assert backend.read(tensor).tolist() == [0, 0, 7, 7, 7, 0, 0, 0]
    assert backend.read_range(tensor, 4, 2).tolist() == [7, 0]


def test_a_gpu_is_not_opened_beside_the_interpreter():
    opened("triton-interpreter")
    with pytest.raises(KernelError, match="another process") as refused:
        open_backend("cuda", 1)
    assert refused.value.code == "OCTAVO_BAD_ARGUMENT"
