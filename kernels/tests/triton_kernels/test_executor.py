"""Whole programs by the executor of the CUDA backend, in Triton's interpreter: what a model on a GPU would answer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from conftest import opened
from octavo_kernels import KernelError
from octavo_kernels.conformance.llama import SEQUENCES, VOCABULARY, Llama
from octavo_kernels.conformance.llama_steps import Row, Runner
from octavo_kernels.triton.backend import TritonBackend

from .replaying import ReplayingDevice


@cache
def llama() -> Llama:
    return Llama(layers=1)


def interpreted() -> Runner:
    return Runner(opened("triton-interpreter"), llama())


@pytest.fixture(scope="module")
def steps() -> list[tuple[Row, ...]]:
    """Prefill of two prompts, then decode: drawn ids of the step before, penalties over them, a sequence that ends."""
    long, short = (3, 7), (4,)
    return [
        (Row(tuple(range(1, 20)), 0, long), Row((5, 9, 2), 0, short, 0.7)),
        (Row((-1,), 19, long), Row((-2,), 3, short, 0.7, (5, 9, -2))),
        (Row((7,), 20, long), Row((-2,), 4, short)),
        (Row((-1,), 21, long),),
        (Row((-1,), 22, long),),
        (Row((11,), 23, long),),
    ]


@pytest.fixture(scope="module")
def expected(steps: list[tuple[Row, ...]]) -> list:
    runner = Runner(opened("reference"), llama())
    return [runner.step(*rows) for rows in steps]


def same(result: dict[str, np.ndarray], expected: dict[str, np.ndarray], *names: str) -> bool:
    return all(result[name].tobytes() == expected[name].tobytes() for name in names)


def test_a_model_draws_the_ids_of_the_reference(steps: list[tuple[Row, ...]], expected: list):
    runner = interpreted()
    for rows, (results, counters) in zip(steps, expected, strict=True):
        found, counted = runner.step(*rows)
        assert same(found, results, "ids", "logits", "topIds")
        assert (counted.quantized, counted.carries) == (counters.quantized, counters.carries)


def test_a_captured_step_answers_as_the_first_did(steps: list[tuple[Row, ...]], expected: list):
    device = ReplayingDevice()
    runner = Runner(TritonBackend(device, 1), llama())
    for rows, (results, counters) in zip(steps, expected, strict=True):
        found, counted = runner.step(*rows)
        assert same(found, results, "ids", "logits", "topIds")
        assert (counted.quantized, counted.carries) == (counters.quantized, counters.carries)
    assert device.replays == 3  # two rows, then one: each met once before


def test_a_row_has_the_same_bits_alone_and_in_any_batch():
    prompts = [tuple((7 * n + k) % VOCABULARY for k in range(1 + 2 * n)) for n in range(3)]
    rows = [Row(prompt, 0, (2 * n, 2 * n + 1)) for n, prompt in enumerate(prompts)]
    together, _ = interpreted().step(*rows)
    alone = interpreted()
    for n, row in enumerate(rows):
        found, _ = alone.step(row)
        assert found["logits"][0].tobytes() == together["logits"][n].tobytes()
    # In chunks, after another sequence has used the pages.
    chunked = interpreted()
    chunked.step(Row((1, 1), 15, (4, 5)))
    chunked.step(Row(prompts[2][:4], 0, (4, 5)))
    found, _ = chunked.step(Row((3,), 0, (9,)), Row(prompts[2][4:], 4, (4, 5)))
    assert found["logits"][1].tobytes() == together["logits"][2].tobytes()


def test_an_id_that_means_a_drawn_one_is_checked_against_what_was_drawn():
    runner = interpreted()
    backend, sampled = opened("triton-interpreter"), runner.tensors[llama().sampled]
    runner.step(Row((1, 2), 0, (1,)))
    with pytest.raises(KernelError, match=f"accepted: {-SEQUENCES}"):
        runner.step(Row((-SEQUENCES - 1,), 2, (1,)))
    wrong = np.full(SEQUENCES, VOCABULARY, np.int32).view(np.uint8)
    backend.write(sampled, 0, wrong.size, lambda memory: np.copyto(memory, wrong))
    with pytest.raises(KernelError, match=f"means the sampled id {VOCABULARY} of {VOCABULARY}"):
        runner.step(Row((-1,), 2, (1,)))
    exposed = backend.expose(sampled)
    exposed[:] = 0  # as a user's PyTorch function may
    runner.step(Row((-1,), 2, (1,)))


def test_a_profile_has_a_time_for_every_op():
    profile = np.full(len(llama().spec.ops), -1, np.int64)
    interpreted().step(Row((1, 2), 0, (1,)), profile=profile)
    assert (profile > 0).all()


def test_a_closed_program_is_refused():
    runner = interpreted()
    runner.program.close()
    runner.program.close()
    with pytest.raises(KernelError) as refused:
        runner.step(Row((1,), 0, (1,)))
    assert refused.value.code == "OCTAVO_DISPOSED"
