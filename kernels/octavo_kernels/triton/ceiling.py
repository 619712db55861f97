"""The most that a GPU does, measured with torch's own kernels: what `octavo bench --ops` compares ours with."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

from ..backend import Ceiling

_ROUNDS = 8
# Far beyond any L2; a quarter of a small GPU's memory.
_READ_BYTES = 2 << 30
_SIZE = 4096


def measure(device: torch.device) -> Ceiling:
    """Takes about a second and 2 GiB."""
    reading = _seconds(torch.zeros(_READ_BYTES // 4, dtype=torch.int32, device=device).max)
    a = torch.ones(_SIZE, _SIZE, dtype=torch.int8, device=device)
    b = torch.ones(_SIZE, _SIZE, dtype=torch.int8, device=device).t()
    int8 = _seconds(lambda: torch.ops.aten._int_mm(a, b))
    x, y = (matrix.float() for matrix in (a, b))
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        float32 = _seconds(lambda: x @ y)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    operations = 2 * _SIZE**3
    return Ceiling(round(_READ_BYTES / reading), round(operations / int8), round(operations / float32))


def _seconds(work: Callable[[], object]) -> float:
    """Of the fastest round."""
    work()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(_ROUNDS + 1)]
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    torch.cuda.synchronize()
    return min(start.elapsed_time(end) for start, end in pairwise(marks)) / 1e3
