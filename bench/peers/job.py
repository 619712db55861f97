"""What all Python peers share: the job is read, its measurements are timed and printed.

A job and a timing are described in bench/cases.ts. A peer gives `steps(prompts, limit)`, a generator: all prompts are
submitted at once, greedy, without stopping at an end of text; it yields the (row, token id) of every step's new tokens
until each row has `limit` of them, and drops what is unfinished when it is closed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

MARK = "@octavo-bench "
ANSWER = 16

Steps = Callable[[list[list[int]], int], Iterator[Iterable[tuple[int, int]]]]


def read_job(path: str) -> dict[str, Any]:
    with open(path) as file:
        return json.load(file)


def say(message: dict[str, Any]) -> None:
    print(MARK + json.dumps(message), flush=True)


def run(job: dict[str, Any], version: str, steps: Steps) -> None:
    """Prints the version, then a line per measurement."""
    say({"version": version})
    for measurement in job["measurements"]:
        say(measure(measurement, steps))


def measure(measurement: dict[str, Any], steps: Steps) -> dict[str, Any]:
    prompts, tokens = measurement["prompts"], measurement["tokens"]
    waiting = set(range(len(prompts)))
    answer: list[int] = []
    made = 0
    started = time.perf_counter()
    all_have_one = 0.0
    generator = steps(prompts, measurement["limit"])
    for new in generator:
        now = time.perf_counter()
        for row, token in new:
            if row == 0 and len(answer) < ANSWER:
                answer.append(token)
            waiting.discard(row)
            made += 1
        if waiting:
            continue
        if not all_have_one:
            all_have_one, made = now, 0
        if made >= len(prompts) * tokens:
            break
    ended = time.perf_counter()
    if waiting or made < len(prompts) * tokens:
        raise RuntimeError(f"{measurement['name']}: rows ended early")
    generator.close()  # type: ignore[attr-defined]
    first, seconds = all_have_one - started, ended - all_have_one
    return {"name": measurement["name"], "first": first, "made": made, "seconds": seconds, "answer": answer}
