"""A step can be captured: what a CUDA graph could not repeat would give wrong tokens, or stop the GPU at every step.

The executor runs on a device without contents (`recording.py`), which fails at any look at data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from octavo_kernels.program.spec import Operation
from octavo_kernels.triton.backend import TritonBackend
from octavo_kernels.triton.launch import Launch
from proofs.compile.context import PROCESSORS
from proofs.compile.launches import count_launches
from proofs.programs.folder import exported, names
from proofs.programs.layers import layer
from proofs.programs.runner import Runner
from proofs.programs.steps import Row

from .recording import NoAllocation, RecordingDevice

QUANTIZING = ("quantize", "norm_quantize", "add_norm_quantize", "glu_quantize")


class Walk:
    """Steps of a llama, each without allocations."""

    def __init__(self) -> None:
        self.device, self.program = RecordingDevice(), exported("tiny-llama-two-layers")
        self.runner = Runner(TritonBackend(self.device, 1), self.program)

    def step(self, *rows: Row, profile: np.ndarray | None = None) -> list[Any]:
        """What the executor asked of the device."""
        self.device.events, before = [], self.device.allocations
        with NoAllocation():
            self.runner.step(*rows, profile=profile)
        assert self.device.allocations == before
        return self.device.events


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk()


def decode(position: int, *pages: tuple[int, ...], **how: Any) -> list[Row]:
    return [Row((position % 50,), position, own, **how) for own in pages]


def test_a_step_copies_once_each_way_and_waits_once_at_its_end(walk: Walk):
    eager = walk.step(*decode(3, (1, 2), (3, 4), (5, 6)))
    # Counters are cleared; `sampled`, which the next step is checked against, comes back with the results.
    assert (eager[:2], eager[-3:]) == (["in", "clear"], ["move", "out", "wait"])
    assert all(isinstance(event, Launch) for event in eager[2:-3])


def test_the_second_step_of_a_size_is_one_graph_of_the_launches_of_the_first(walk: Walk):
    one = [(1, 2)]
    eager = walk.step(*decode(3, *one))
    captured = len(walk.device.captured)
    second, third = walk.step(*decode(4, *one)), walk.step(*decode(5, *one))
    assert len(walk.device.captured) == captured + 1
    assert second == ["in", ("graph", eager[1:-2]), "out", "wait"]
    assert third == second


def test_other_data_and_fewer_rows_take_the_same_graph(walk: Walk):
    five = [(page, page + 1) for page in range(0, 10, 2)]
    walk.step(*decode(3, *five))
    first = walk.step(*decode(4, *five))
    captured = len(walk.device.captured)
    others = [
        walk.step(*decode(30, *five)),
        walk.step(*decode(7, *five, (11, 12), temperature=0.8, penalised=(1, 2, -1))),
        walk.step(Row((1, 2, 3, 4, 5, 6, 7), 0, (1,))),
    ]
    assert all(other == first for other in others)
    assert len(walk.device.captured) == captured


def test_steps_beyond_the_buckets_allocate_nothing(walk: Walk):
    for count in (33, 40):
        walk.step(Row(tuple(range(count)), 0, (1, 2, 3)))
    walk.step()


def test_the_8_bit_path_of_a_decoder_layer_is_at_most_8_launches(walk: Walk):
    profile = np.zeros(len(walk.program.spec.ops), np.int64)
    events = walk.step(*decode(3, (1, 2), (3, 4)), profile=profile)
    counts = [0]
    for event in events:
        if event == "mark":
            counts.append(0)
        elif isinstance(event, Launch):
            counts[-1] += 1
    by_op = list(zip(walk.program.spec.ops, counts[1:-1], strict=True))
    for number in range(2):
        ops = [by_op[index] for index in layer(walk.program, number)]
        assert sum(count for operation, count in ops if _is_8_bit(operation)) <= 8


@pytest.mark.parametrize("name", names("Llama") + names("Qwen") + names("Mistral") + names("SmolLM"))
def test_the_8_bit_path_of_a_layer_of_real_models_is_at_most_8_launches_on_every_architecture(name: str):
    program = exported(name)
    within = layer(program, 1)
    int8 = [index for index in within if _is_8_bit(program.spec.ops[index])]
    outside = [index for index, label in enumerate(program.labels) if not label.startswith("model.layers.")]
    assert (len(int8), len(within)) == (8, 10)
    for architecture in PROCESSORS:
        for rows in (1, 2, 4, 8, 16, 32, 64):
            counts = dict(zip(within, count_launches(program, within, rows, architecture), strict=True))
            assert sum(counts[index] for index in int8) <= 8
            # Beside it rope with the append, and attention; once per step the embedding, last norm, head, sampling.
            assert sum(counts.values()) <= 11
            assert sum(count_launches(program, outside, rows, architecture)) <= 10


def _is_8_bit(operation: Operation) -> bool:
    return operation.op in (*QUANTIZING, "linear_int8")
