"""Payloads of steps: both languages must cut them at the same bytes, or every number of a step is another one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from octavo_kernels import KernelError
from octavo_kernels.generated.ops import SIZES
from octavo_kernels.program.payload import NUMPY_DTYPES, PayloadLayout, check_sizes
from octavo_kernels.program.spec import Input, ProgramSpec, Value

LIMITS: dict[str, int] = dict.fromkeys(SIZES, 40)


def _spec(*values: tuple[str, tuple]) -> ProgramSpec:
    made = tuple(Value(dtype, "plain", shape, Input()) for dtype, shape in values)
    return ProgramSpec(made, (), tuple(range(len(made))), (), LIMITS)


def test_arrays_begin_at_multiples_of_64_bytes_and_the_last_ends_the_payload():
    spec = _spec(("int32", ("T",)), ("float32", ("S", 3)), ("int8", ("B+1",)), ("float16", ("Q", 5)), ("int32", ("T",)))
    layout, sizes = PayloadLayout(spec, spec.inputs), {**dict.fromkeys(SIZES, 0), "T": 17, "S": 0, "B": 2}
    assert layout.bytes(sizes) == 192 + 68
    payload = np.zeros(260, np.uint8)
    for number, array in enumerate(layout.split(sizes, memoryview(payload))):
        array[:] = number + 1
    assert [payload[start] for start in (0, 64, 128, 130, 192, 256)] == [1, 1, 3, 3, 5, 5]
    assert not payload[68:128].any() and not payload[131:192].any()


def test_places_follow_the_sizes_of_each_step():
    layout = PayloadLayout(_spec(("int32", ("T",)), ("int8", ("S",))), (0, 1))
    for t, s, expected in ((1, 1, 65), (20, 1, 129), (20, 3, 131), (1, 1, 65)):
        assert layout.bytes({**dict.fromkeys(SIZES, 0), "T": t, "S": s}) == expected


_DIMENSIONS = st.lists(st.sampled_from(["T", "S", "B+1", "S+1", 0, 1, 3, 16]), max_size=3).map(tuple)


@given(st.lists(st.tuples(st.sampled_from(list(NUMPY_DTYPES)), _DIMENSIONS), max_size=5), st.data())
def test_what_is_packed_is_split_again(values: list, data: st.DataObject):
    spec = _spec(*values)
    sizes = {**dict.fromkeys(SIZES, 0), **{name: data.draw(st.integers(0, 5)) for name in "TSB"}}
    rng = np.random.default_rng(0)
    arrays = []
    for value in spec.values:
        shape = [size if isinstance(size, int) else sizes[size[0]] + size.endswith("+1") for size in value.shape]
        arrays.append(rng.integers(0, 100, shape).astype(NUMPY_DTYPES[value.dtype]))
    layout = PayloadLayout(spec, spec.inputs)
    payload = layout.pack(sizes, arrays)
    back = layout.split(sizes, memoryview(payload))
    assert all(a.dtype == b.dtype and a.shape == b.shape and (a == b).all() for a, b in zip(arrays, back, strict=True))
    with pytest.raises(KernelError):
        layout.split(sizes, memoryview(bytes(payload) + b"\0"))


def test_strided_arrays_are_packed_by_rows():
    spec = _spec(("int32", (3, 2)))
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    assert PayloadLayout(spec, spec.inputs).pack(LIMITS, [array]).view(np.int32).tolist() == [0, 3, 1, 4, 2, 5]


def test_a_payload_may_be_read_only_and_lie_anywhere():
    spec = _spec(("int32", ("T",)))
    frame = memoryview(b"\1" + np.arange(3, dtype=np.int32).tobytes())[1:]
    assert PayloadLayout(spec, spec.inputs).split({**LIMITS, "T": 3}, frame)[0].tolist() == [0, 1, 2]


def test_sizes_that_are_not_given_are_zero_and_none_exceeds_its_limit():
    spec = _spec()
    assert check_sizes(spec, {"T": 40}) == {**dict.fromkeys(SIZES, 0), "T": 40}
    for wrong in (41, -1):
        with pytest.raises(KernelError, match=f"T is {wrong}"):
            check_sizes(spec, {"T": wrong})
