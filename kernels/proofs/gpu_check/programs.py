"""Whole small programs on a backend: against the definitions, captured and not, alone and in batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from octavo_kernels.backend import Backend

from ..programs.file import Program
from ..programs.folder import exported, names
from ..programs.runner import Runner
from ..programs.steps import Row

# What is exact: log-probabilities go through a float64 logarithm, which the definition leaves to the library.
_EXACT = ("ids", "logits", "topIds", "top1")
_LONG, _SHORT = (3, 7), (4,)
# Prefill of two prompts, then decode: ids drawn by the step before, penalties over them, a sequence that ends. Steps of
# each size come again, so that a backend that captures runs its graphs.
STEPS: tuple[tuple[Row, ...], ...] = (
    (Row(tuple(range(1, 20)), 0, _LONG), Row((5, 9, 2), 0, _SHORT, 0.7)),
    (Row((-1,), 19, _LONG), Row((-2,), 3, _SHORT, 0.7, (5, 9, -2))),
    (Row((7,), 20, _LONG), Row((-2,), 4, _SHORT)),
    (Row((-1,), 21, _LONG),),
    (Row((-1,), 22, _LONG),),
    (Row((11,), 23, _LONG),),
)
#: Few rows that cross a page, and a window of 8 tokens: enough for what programs have of their own.
SHORT_STEPS: tuple[tuple[Row, ...], ...] = (
    (Row((1, 2, 3, 4), 13, _LONG), Row((5, 9), 0, _SHORT, 0.7)),
    (Row((-1,), 17, _LONG), Row((-2,), 2, _SHORT, 0.7, (5, 9, -2))),
)


def llama() -> Program:
    """One layer: the other ones do the same."""
    return exported("tiny-llama")


def programs() -> list[str]:
    """Small programs of all families and options."""
    return names("tiny-")


def differs_from_reference(
    backend: Backend, reference: Backend, program: Program, steps: Sequence[tuple[Row, ...]]
) -> list[str]:
    """Steps whose results or counters are not those of the definitions, to the bit; then states that are not."""
    runner, defined, wrong = Runner(backend, program), Runner(reference, program), []
    for number, rows in enumerate(steps):
        (found, counted), (expected, counts) = runner.step(*rows), defined.step(*rows)
        wrong += [f"step {number}: {name}" for name in _different(found, expected, _EXACT)]
        if (counted.quantized, counted.carries, counted.nonfinite) != (
            counts.quantized,
            counts.carries,
            counts.nonfinite,
        ):
            wrong.append(f"step {number}: counters")
    left, expected = runner.states(), defined.states()
    return wrong + [f"state {name}" for name in left if left[name] != expected[name]]


def differs_when_captured(backend: Backend) -> list[str]:
    """A decode step again and again: op by op, then as a graph, then op by op for a profile."""
    runner = Runner(backend, llama())
    runner.step(*STEPS[0])
    rows = (Row((7,), 19, _LONG), Row((8,), 3, _SHORT, 0.7))
    first, _ = runner.step(*rows)
    wrong = []
    for number in range(3):
        found, _ = runner.step(*rows)
        wrong += [f"run {number + 2}: {name}" for name in _different(found, first, tuple(first))]
    found, _ = runner.step(*rows, profile=np.zeros(len(llama().spec.ops), np.int64))
    return wrong + [f"profile: {name}" for name in _different(found, first, tuple(first))]


def differs_in_a_batch(backend: Backend) -> list[str]:
    """Sequences alone, together, and in chunks beside others: each row's logits, to the bit."""
    prompts = [tuple(7 * n + k for k in range(1 + 2 * n)) for n in range(3)]
    rows = [Row(prompt, 0, (2 * n, 2 * n + 1)) for n, prompt in enumerate(prompts)]
    together, _ = Runner(backend, llama()).step(*rows)
    alone, wrong = Runner(backend, llama()), []
    for n, row in enumerate(rows):
        found, _ = alone.step(row)
        if found["logits"][0].tobytes() != together["logits"][n].tobytes():
            wrong.append(f"sequence {n} alone")
    chunked = Runner(backend, llama())
    chunked.step(Row((1, 1), 15, (4, 5)))  # Another sequence has had the pages.
    chunked.step(Row(prompts[2][:4], 0, (4, 5)))
    found, _ = chunked.step(Row((3,), 0, (9,)), Row(prompts[2][4:], 4, (4, 5)))
    if found["logits"][1].tobytes() != together["logits"][2].tobytes():
        wrong.append("sequence 2 in chunks")
    return wrong


def _different(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], names: Sequence[str]) -> list[str]:
    return [name for name in names if name in found and found[name].tobytes() != expected[name].tobytes()]
