"""Whether what an op has written is finite: for steps that look for the first op that made NaN or infinity."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..generated.ops import PAGE_SIZE
from ..program.spec import Operation


def results_finite(operation: Operation, view: Callable[[int], torch.Tensor]) -> bool:
    """Floating results; the step of rows of digits, the ids of `sample`, and the steps of rows that went to KV pages.

    `view`: a value of the program at this step's sizes, on any device.
    """
    results = {name: view(value) for name, value in operation.outputs.items()}
    if operation.op == "sample":  # its logprobs are NaN where nobody wants them
        return not bool((results["ids"] < 0).any())
    written = list(results.values())
    if "slots" in operation.inputs:
        slots = view(operation.inputs["slots"]).long()
        pages, offsets = slots // PAGE_SIZE, slots % PAGE_SIZE
        steps = view(operation.inputs["steps"])
        written += [steps[pages, :, offsets], steps[pages, :, PAGE_SIZE + offsets]]
    return all(bool(x.isfinite().all()) for x in written if x.is_floating_point())
