"""What each op of a program takes beside its operands, by the formulas of `protocol/workspace.ts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any

from ..generated.ops import OPS
from ..generated.workspace import WORKSPACE
from .shapes import bind
from .spec import Dimension, Operation, ProgramSpec, resolve

_FUNCTIONS: dict[str, Any] = {
    "__builtins__": {},
    "min": min,
    "max": max,
    "pad": lambda n, multiple: -(-n // multiple) * multiple,
    "ceil": lambda n, divisor: -(-n // divisor),
    "pow2": lambda n: 1 << (n - 1).bit_length(),
}


@dataclass(frozen=True)
class Scratch:
    """The most that an op takes, in bytes: of each CPU thread, of all of them together, of an op on a GPU."""

    thread: int = 0
    shared: int = 0
    scratch: int = 0


def scratch_of(spec: ProgramSpec, threads: int) -> Scratch:
    """The most of all ops of a validated program, at its limits."""
    known: dict[Any, Scratch] = {}
    for operation in spec.ops:
        if operation.op not in WORKSPACE:
            continue
        shapes = {
            name: resolve(spec.values[index].shape, spec.limits)
            for name, index in (*operation.inputs.items(), *operation.outputs.items())
        }
        key = (operation.op, *shapes.items(), *operation.attributes.items())  # The layers of a model are alike.
        if key not in known:
            known[key] = _scratch(operation, shapes, threads)
    found = known.values()
    return Scratch(
        thread=max((one.thread for one in found), default=0),
        shared=max((one.shared for one in found), default=0),
        scratch=max((one.scratch for one in found), default=0),
    )


def _scratch(operation: Operation, shapes: Mapping[str, tuple[int, ...]], threads: int) -> Scratch:
    table, sizes = OPS[operation.op], dict[str, Dimension]()
    for name, operand in (*table.inputs.items(), *table.outputs.items()):
        if name in shapes:
            bind(sizes, operation.attributes, operand.shape, shapes[name])
    names: dict[str, Any] = {**sizes, **operation.attributes, "threads": threads}
    for name, formula in _compiled(operation.op).items():
        names[name] = eval(formula, _FUNCTIONS, names)  # The package's own text.
    return Scratch(**{name: names.get(name, 0) for name in ("thread", "shared", "scratch")})


@cache
def _compiled(op: str) -> dict[str, CodeType]:
    return {name: compile(formula, f"workspace of {op}", "eval") for name, formula in WORKSPACE[op].items()}
