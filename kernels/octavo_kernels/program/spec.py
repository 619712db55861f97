"""A program as a backend receives it: the `define` message (`protocol/messages.ts`) as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Dimension = int | str
AttributeValue = float | int | bool | str
#: The sizes of a step, or a program's limits, by name: those of SIZES.
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Handle:
    """In the tensor with this id."""

    handle: int


@dataclass(frozen=True)
class Arena:
    """At this byte of the program's arena; a multiple of 64."""

    offset: int


@dataclass(frozen=True)
class Input:
    """Brought by each step, in the order of `ProgramSpec.inputs`."""


@dataclass(frozen=True)
class Columns:
    """Columns `column ...` of each row of the value `of`, which has a smaller id; no memory of its own."""

    of: int
    column: int


Place = Handle | Arena | Input | Columns


@dataclass(frozen=True)
class Value:
    """`shape` holds numbers, and the sizes of a step: those of SIZES, "S+1", "B+1". `values[i]` has the id i."""

    dtype: str
    layout: str
    shape: tuple[Dimension, ...]
    place: Place


@dataclass(frozen=True)
class Operation:
    """An op of the table; operands are ids of values by operand name, optional ones may be absent."""

    op: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    attributes: dict[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True)
class ProgramSpec:
    """Ops in the order they run. `limits` are the largest sizes a step may have (all of SIZES)."""

    values: tuple[Value, ...]
    ops: tuple[Operation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    limits: dict[str, int]


def resolve(shape: tuple[Dimension, ...], sizes: Sizes) -> tuple[int, ...]:
    """The numbers of a shape at these sizes; "S+1" and "B+1" are one more than "S" and "B"."""
    return tuple(
        [size if isinstance(size, int) else sizes[size] if len(size) == 1 else sizes[size[0]] + 1 for size in shape]
    )
