"""Microseconds of work on a GPU, by its own clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import Protocol

import torch

_ROUNDS = 20


class Timer(Protocol):
    def microseconds(self, calls: Sequence[Callable[[], object]], capture: bool = True) -> float:
        """Of one call, where `calls` run in turn. `capture`: as one CUDA graph, so that launching costs nothing; code
        that waits for the GPU inside cannot be captured."""
        ...


class CudaTimer:
    """The median of several rounds."""

    def microseconds(self, calls: Sequence[Callable[[], object]], capture: bool = True) -> float:
        """See Timer."""

        def each() -> None:
            for call in calls:
                call()

        run: Callable[[], None] = each
        run()  # Compiles, and fills torch's allocator.
        torch.cuda.synchronize()
        if capture:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                each()
            run = graph.replay
            run()
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(_ROUNDS + 1)]
        marks[0].record()
        for mark in marks[1:]:
            run()
            mark.record()
        torch.cuda.synchronize()
        return median(start.elapsed_time(end) for start, end in pairwise(marks)) * 1e3 / len(calls)
