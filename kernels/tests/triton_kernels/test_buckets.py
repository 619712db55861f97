"""Every step fits a capacity that was measured when its program was defined; otherwise a step would need memory that is
not there."""

from __future__ import annotations

import pytest
from octavo_kernels.generated.ops import SIZES
from octavo_kernels.program.spec import Arena, Input, ProgramSpec, Value
from octavo_kernels.triton.buckets import CAPTURED, Buckets


def spec(limits: dict[str, int], place: Arena | Input | None = None) -> ProgramSpec:
    values = (Value("int32", "plain", ("B", "J"), place or Input()),)
    return ProgramSpec(values, (), (), (), {**dict.fromkeys(SIZES, 0), **limits})


def sizes(**given: int) -> dict[str, int]:
    return {**dict.fromkeys(SIZES, 0), **given}


@pytest.mark.parametrize("limits", [{"T": 512, "S": 8, "B": 8, "J": 256}, {"T": 5, "J": 3}, {"S": 2000, "H": 9}, {}])
def test_steps_of_all_sizes_fit_and_are_known_beforehand(limits: dict[str, int]):
    buckets = Buckets(spec(limits))
    known = set(buckets.all())
    for rows in range(max([limits.get(name, 0) for name in "TSB"]) + 1):
        for pages in range(0, limits.get("J", 0) + 1, 3):
            step = sizes(J=pages, **{name: min(rows, limits.get(name, 0)) for name in "TSB"})
            capacity = buckets.fit(step)
            assert capacity in known
            assert all(step[name] <= size <= limits.get(name, 0) for name, size in capacity.named().items())


def test_a_step_takes_the_next_bucket_that_holds_all_of_its_sizes():
    buckets = Buckets(spec({"T": 512, "S": 8, "B": 40, "J": 256, "H": 100}))
    assert buckets.fit(sizes(T=9, S=1, B=3, J=5)).named() == sizes(T=16, S=8, B=16, J=64, H=100)
    assert buckets.fit(sizes(T=9, S=1, B=33, J=65)).named() == sizes(T=48, S=8, B=40, J=256, H=100)


def test_decode_is_captured_and_long_prefill_is_not():
    buckets = Buckets(spec({"T": 512, "S": 8, "B": 8, "J": 4}))
    assert buckets.fit(sizes(T=CAPTURED[-1])).captured
    assert not buckets.fit(sizes(T=CAPTURED[-1] + 1)).captured


def test_a_table_in_memory_of_others_keeps_its_width():
    buckets = Buckets(spec({"T": 8, "B": 8, "J": 256}, Arena(0)))
    assert buckets.fit(sizes(T=8, B=1, J=5)).named()["J"] == 5
