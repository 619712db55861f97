"""What an op is to the executor: operands in, kernel launches out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch


@dataclass(frozen=True)
class Operand:
    """A value of a program at a step.

    `tensor`: a view of its memory at the sizes that the launches are made for; the last dimension has the stride 1,
    rows may lie apart (columns of a wider value). A packed weight [N, K] is row-major, its rows `stride(0)` apart and
    padded with zeros. On the device "meta" it has no memory: plans then are compiled, not run.

    `rows`: int32, one element on the device: how many of `tensor`'s rows there really are. A captured graph is made for
    more rows than a step brings; a kernel must leave rows from `rows` on alone.
    """

    tensor: torch.Tensor
    rows: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def stride(self) -> int:
        """Elements from one row to the next."""
        return self.tensor.stride(0)


class Context(Protocol):
    """What a plan may ask of the executor."""

    #: Compute capability: 80, 86, 89, 90, 100. The interpreter says 90 as well: it runs what an H100 would run.
    architecture: int
    #: Streaming multiprocessors.
    processors: int
    #: Kernels run in Triton's interpreter: no inline assembly, no Gluon.
    interpreted: bool
    #: int64 [2], zero at the start of a step: elements with a carry, rows with NaN or Inf. Kernels add atomically.
    counters: torch.Tensor

    def scratch(self, dtype: torch.dtype, *shape: int) -> torch.Tensor:
        """Memory for the launches of one op, with anything in it; the next op may get the same."""
        ...

    def tickets(self, count: int) -> torch.Tensor:
        """int32 [count], zero; the op's launches must leave it zero, so that a captured graph can run again."""
        ...


@dataclass(frozen=True)
class Launch:
    """One kernel launch. Launches of a step run in order, each after the one before has ended.

    `arguments`: by parameter name; tensors, tensor descriptors, numbers, None. `constants`: the constexpr parameters.
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: Mapping[str, Any]
    constants: Mapping[str, Any] = field(default_factory=dict)
    warps: int = 4
    #: Software pipeline stages of loops.
    stages: int = 2
    #: Programmatic dependent launch: the kernel may start before the one before it has ended, and must call gdc_wait
    #: before it touches anything but weights.
    dependent: bool = False
    #: Most registers per thread, None being the compiler's choice.
    registers: int | None = None


def tensors(**operands: Operand | None) -> dict[str, Any]:
    """Arguments by the operands' names: their tensors, and None for what is not there."""
    return {name: operand.tensor if operand is not None else None for name, operand in operands.items()}


def strides(**operands: Operand | None) -> dict[str, Any]:
    """Arguments NAME_stride: `Operand.stride` of each, and 0 for what is not there."""
    return {f"{name}_stride": operand.stride if operand is not None else 0 for name, operand in operands.items()}


def cdiv(a: int, b: int) -> int:
    """Quotient rounded up."""
    return -(-a // b)
