"""Slices of tensors in files. A user would lose: that a model cut over devices answers what it answers on one."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import opened
from octavo_kernels import Backend, KernelError, SourcePart
from octavo_kernels.generated.source_types import SOURCE_TYPES
from test_dequantize import file_bytes
from test_load import floats, normal, quantised, written

#: Where rows and columns are cut: single ones, inside blocks, panels and groups, and nothing at all.
_ROWS = [0, 1, 16, 19, 37]
_COLUMNS = [0, 1, 64, 64, 333, 480]


def tensor(folder: Path, kind: str) -> SourcePart:
    """[37, 512], or 511 where blocks are of one element."""
    columns = 512 if SOURCE_TYPES[kind].elements > 1 else 511
    if kind == "F64":
        data = np.random.default_rng(1).standard_normal(37 * columns).view(np.uint8)
    else:
        data = file_bytes("BF16" if kind == "I8" else kind, 37 * columns)[: 37 * columns * SOURCE_TYPES[kind].bytes]
    (folder / kind).write_bytes(b"\1\2\3" + data.tobytes())
    return SourcePart(str(folder / kind), 3, data.size, kind, 37, columns, name=f"the {kind}")


def cut(part: SourcePart, rows: tuple[int, int] | None, columns: tuple[int, int] | None) -> SourcePart:
    return replace(part, row_range=rows, column_range=columns)


def as_floats(backend: Backend, part: SourcePart, layout: str = "plain", dtype: str = "float32") -> np.ndarray:
    shape = (len(part.taken_rows), len(part.taken_columns))
    return floats(backend, [part], dtype, layout, shape).reshape(*shape, -1)


def refusal(backend: Backend, form: str, parts: list[SourcePart], shape: tuple[int, ...], dtype: str) -> KernelError:
    target = backend.allocate(dtype, "packed" if form == "int8" else "plain", shape)
    scale = backend.allocate("float32", "plain", shape[:1]) if form == "int8" else None
    with pytest.raises(KernelError) as refused:
        backend.load(form, parts, target, scale)
    return refused.value


@pytest.mark.parametrize("kind", SOURCE_TYPES)
def test_slices_of_rows_and_columns_side_by_side_are_the_whole(kind: str, backend: Backend, tmp_path: Path):
    part = tensor(tmp_path, kind)
    row_cuts, column_cuts = [*pairwise(_ROWS)], [*pairwise(sorted({*_COLUMNS, part.columns}))]
    layout = "packed" if kind in ("F32", "Q6_K") else "plain"
    codes, scale = quantised(backend, [part], layout)
    values = as_floats(backend, part, layout)
    for rows in row_cuts:
        pieces = [cut(part, rows, columns) for columns in column_cuts]
        found = [quantised(backend, [piece], layout) for piece in pieces]
        assert np.array_equal(np.concatenate([piece for piece, _ in found], axis=1), codes[slice(*rows)])
        assert all(np.array_equal(scales, scale[slice(*rows)]) for _, scales in found)
        found = np.concatenate([as_floats(backend, piece, layout) for piece in pieces], axis=1)
        assert np.array_equal(found, values[slice(*rows)])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["plain", "packed"])
def test_slices_are_converted_as_the_whole_is(dtype: str, layout: str, backend: Backend, tmp_path: Path):
    part = written(tmp_path, normal(35, 77))
    whole = as_floats(backend, part, layout, dtype)
    pieces = [as_floats(backend, cut(part, (3, 35), columns), layout, dtype) for columns in ((0, 65), (65, 77))]
    assert np.array_equal(np.concatenate(pieces, axis=1), whole[3:])


def test_one_device_s_columns_of_many_experts_are_stacked(backend: Backend, tmp_path: Path):
    """[E, N, K] in one file, and experts of other types and files beside it; panels end inside experts."""
    stack = written(tmp_path, normal(150, 512), "experts")
    experts = [cut(stack, (5 * e, 5 * e + 5), (100, 357)) for e in (29, 0, 7, 7)]
    experts += [cut(tensor(tmp_path, kind), (2, 30), (100, 357)) for kind in ("Q4_K", "F16")]
    apart = [quantised(backend, [expert]) for expert in experts]
    for found, expected in zip(quantised(backend, experts), map(np.concatenate, zip(*apart))):
        assert np.array_equal(found, expected)


@contextmanager
def few_open_files() -> Iterator[None]:
    """Eight more than now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_there_may_be_more_files_than_a_process_may_open(backend: Backend, tmp_path: Path):
    x = normal(512, 65)
    parts = [written(tmp_path, x[i : i + 1], f"shard{i}") for i in range(512)]
    expected = quantised(backend, [written(tmp_path, x, "whole")])
    with few_open_files():
        found = quantised(backend, parts)
    assert all(np.array_equal(*both) for both in zip(found, expected))


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q5_K"])
def test_a_vector_takes_whole_rows_or_columns_of_one_row(kind: str, backend: Backend, tmp_path: Path):
    part = tensor(tmp_path, kind)
    values = as_floats(backend, part)
    pieces = [
        cut(part, (3, 4), (33, 300)),
        cut(part, (5, 8), None),
        cut(part, (0, 0), None),
        cut(part, (36, 37), (1, 2)),
    ]
    expected = np.concatenate([values[3, 33:300], values[5:8].reshape(-1, 4), values[36, 1:2]])
    assert np.array_equal(floats(backend, pieces, "float32", "plain", (len(expected),)), expected.ravel())
    torn = cut(part, (0, 2), (0, 3))
    assert refusal(backend, "float", [torn], (6,), "float32").code == "OCTAVO_SHAPE_MISMATCH"


def test_rows_are_those_of_all_dimensions_but_the_last(backend: Backend, tmp_path: Path):
    part = written(tmp_path, normal(24, 9))
    found = floats(backend, [cut(part, (4, 16), (1, 8))], "float32", "plain", (3, 4, 7)).view(np.float32)
    assert np.array_equal(found, normal(24, 9)[4:16, 1:8].ravel())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused_where_it_would_have_an_effect(value: float, backend: Backend, tmp_path: Path):
    x = normal(20, 70)
    x[17, 69] = value
    part = written(tmp_path, x, "k.weight")
    left, right = cut(part, (2, 20), (0, 33)), cut(part, (2, 20), (33, 70))
    assert np.array_equal(as_floats(backend, left).view(np.float32)[..., 0], x[2:, :33])
    for form, piece, dtype in (("float", right, "float32"), ("int8", left, "int8"), ("int8", right, "int8")):
        error = refusal(backend, form, [piece], (18, len(piece.taken_columns)), dtype)
        assert error.code == "OCTAVO_MODEL_FILE_INVALID"
        assert "tensor k.weight holds" in error.message and "at [17, 69]" in error.message
    error = refusal(backend, "float", [cut(part, (17, 18), (60, 70))], (10,), "float32")
    assert "at [17, 69]" in error.message


@pytest.mark.parametrize(
    "rows,columns",
    [
        *[((0, 5), None), ((5, 6), None), ((3, 2), None), ((-1, 2), None), ((0, 2**53 - 1), None)],
        *[(None, (0, 65)), (None, (65, 66)), (None, (40, 30)), (None, (-1, 63)), (None, (2**53 - 2, 2**53 - 1))],
    ],
)
def test_a_range_outside_the_tensor_is_refused_by_name(rows, columns, backend: Backend, tmp_path: Path):
    part = cut(written(tmp_path, normal(4, 64), "q.weight"), rows, columns)
    for form, dtype in (("float", "float32"), ("int8", "int8")):
        error = refusal(backend, form, [part], (4, 64), dtype)
        assert error.code == "OCTAVO_SHAPE_MISMATCH" and "inside tensor q.weight of 4 rows of 64" in error.message


def test_slices_that_do_not_fit_their_target_or_their_blocks_are_refused_by_name(backend: Backend, tmp_path: Path):
    part = written(tmp_path, normal(4, 64), "q.weight")
    error = refusal(backend, "int8", [part, cut(part, None, (0, 63))], (8, 64), "int8")
    assert error.code == "OCTAVO_SHAPE_MISMATCH" and "rows of 63" in error.message and "q.weight" in error.message
    blocks = replace(part, type="Q8_0", rows=64, columns=4, bytes=272)
    error = refusal(backend, "float", [cut(blocks, (0, 8), None)], (8, 4), "float32")
    assert error.code == "OCTAVO_MODEL_FILE_INVALID" and "not whole blocks in tensor q.weight" in error.message


def test_the_slices_of_a_gpu_are_those_of_the_reference(tmp_path: Path):
    part = cut(tensor(tmp_path, "Q5_1"), (1, 36), (7, 107))
    found, expected = (quantised(opened(name), [part]) for name in ("triton-interpreter", "reference"))
    assert all(np.array_equal(*both) for both in zip(found, expected))
