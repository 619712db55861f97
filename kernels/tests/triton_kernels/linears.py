"""Runs the plan of a linear in Triton's interpreter on torch tensors, for the architecture that a test names.

Imports the plans too: kernels must be imported after the interpreter is enabled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from octavo_kernels.triton import interpreter

interpreter.enable()

from octavo_kernels.triton.launch import Launch, Operand, cdiv  # noqa: E402
from octavo_kernels.triton.ops.linear_float import linear_float  # noqa: E402
from octavo_kernels.triton.ops.linear_int8 import tiles  # noqa: E402
from octavo_kernels.triton.ops.linear_int8.blocks import carry_groups  # noqa: E402
from octavo_kernels.triton.ops.linear_int8.plan import linear_int8  # noqa: E402
from octavo_kernels.triton.ops.linear_published import linear_published  # noqa: E402

__all__ = [
    "ARCHITECTURES",
    "Context",
    "Launch",
    "answer",
    "carry_groups",
    "cdiv",
    "linear_float",
    "linear_int8",
    "linear_published",
    "operands",
    "packed",
    "run",
    "same",
    "tiles",
]

#: Every architecture whose plans differ: pointers and mma.sync, TMA and wgmma.
ARCHITECTURES = (80, 90)


class Context:
    """See launch.Context. Keeps what it lent, so that a test can look at it."""

    def __init__(self, architecture: int, processors: int = 132) -> None:
        self.architecture, self.processors, self.interpreted = architecture, processors, True
        self.counters = torch.zeros(2, dtype=torch.int64)
        self.lent: list[torch.Tensor] = []

    def scratch(self, dtype: torch.dtype, *shape: int) -> torch.Tensor:
        return torch.full(shape, -1, dtype=torch.int32).to(dtype)

    def tickets(self, count: int) -> torch.Tensor:
        self.lent.append(torch.zeros(count, dtype=torch.int32))
        return self.lent[-1]


def run(launches: list[Launch]) -> None:
    """In order, as an executor would."""
    for launch in launches:
        interpreter.run(launch)


def operands(rows: int, tensors: Mapping[str, torch.Tensor | None]) -> dict[str, Operand]:
    """Operands with `rows` real rows, whatever their tensors hold."""
    counts = {name: torch.tensor([rows], dtype=torch.int32) for name in tensors}
    return {name: Operand(x, counts[name]) for name, x in tensors.items() if x is not None}


def answer(
    plan: Callable[..., list[Launch]],
    context: Context,
    outputs: int,
    rows: int | None = None,
    attributes: dict[str, Any] | None = None,
    **inputs: Any,
) -> torch.Tensor:
    """y [T, outputs] of one op, NaN where the plan wrote nothing. `rows`: real ones, T where None."""
    first = next(x for x in inputs.values() if x is not None)
    y = torch.full((first.shape[0], outputs), float("nan"))
    given = operands(first.shape[0] if rows is None else rows, {**inputs, "y": y})
    run(plan(context, **given, **(attributes or {})))
    return y


def packed(codes: torch.Tensor) -> torch.Tensor:
    """int8 [N, K] as a packed weight: rows a multiple of 64 bytes apart, zero beyond K."""
    wide = torch.nn.functional.pad(codes, (0, -codes.shape[1] % 64))
    return wide[:, : codes.shape[1]]


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal everywhere; NaN equals NaN."""
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
