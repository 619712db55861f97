"""Every launch of every case on every architecture, as data: what the tests judge and the report counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from octavo_kernels.triton.launch import Launch

from .cases import Case
from .context import MetaContext
from .operands import byte_count, operands


@dataclass(frozen=True)
class Argument:
    """A tensor that a launch is given: the operand it is a view of, or None for scratch memory."""

    operand: str | None
    bytes: int


@dataclass(frozen=True)
class Entry:
    """One launch. `key` names its compilation; `error` says why there is none."""

    model: str
    label: str
    op: str
    sizes: dict[str, int]
    given: tuple[str, ...]
    attributes: dict[str, Any]
    rows: int
    times: int
    architecture: int
    launch: int
    kernel: str
    grid: tuple[int, ...]
    warps: int
    stages: int
    dependent: bool
    constants: dict[str, Any]
    tensors: dict[str, Argument]
    #: Integers that are no constants, such as extents and strides.
    integers: dict[str, int]
    #: Bytes of each operand of the whole op.
    operands: dict[str, int]
    key: str = ""
    error: str = ""

    @staticmethod
    def of(data: dict[str, Any]) -> Entry:
        """From what `dataclasses.asdict` gave, perhaps by way of JSON."""
        tensors = {name: Argument(**one) for name, one in data["tensors"].items()}
        return Entry(**{**data, "tensors": tensors, "grid": tuple(data["grid"]), "given": tuple(data["given"])})


def plan(model: str, rows: int, case: Case, architecture: int) -> Iterator[tuple[Entry, Launch]]:
    """Plans the case; raises what the plan raises."""
    from octavo_kernels.triton.ops import PLANS

    context, named = MetaContext(architecture), operands(case)
    storages = {one.tensor.untyped_storage()._cdata: name for name, one in named.items()}
    sizes = {name: byte_count(one.tensor) for name, one in named.items()}
    for index, launch in enumerate(PLANS[case.op](context, **named, **_attributes(case))):
        tensors = {}
        for name, argument in launch.arguments.items():
            tensor = getattr(argument, "base", argument)
            if isinstance(tensor, torch.Tensor):
                operand = storages.get(tensor.untyped_storage()._cdata)
                tensors[name] = Argument(operand, byte_count(tensor))
        entry = Entry(
            model=model,
            label=case.label,
            op=case.op,
            sizes=dict(case.sizes),
            given=case.given,
            attributes=dict(case.attributes),
            rows=rows,
            times=case.times,
            architecture=architecture,
            launch=index,
            kernel=launch.kernel.__name__,
            grid=tuple(launch.grid),
            warps=launch.warps,
            stages=launch.stages,
            dependent=launch.dependent,
            constants={name: _plain(value) for name, value in launch.constants.items()},
            tensors=tensors,
            integers={name: one for name, one in launch.arguments.items() if type(one) is int},
            operands=sizes,
        )
        yield entry, launch


def failed(model: str, rows: int, case: Case, architecture: int, error: str) -> Entry:
    """The entry of a case that cannot be planned."""
    return Entry(
        **{"model": model, "label": case.label, "op": case.op, "sizes": dict(case.sizes), "given": case.given},
        **{"attributes": dict(case.attributes), "rows": rows, "times": case.times, "architecture": architecture},
        **{"launch": 0, "kernel": "", "grid": (), "warps": 0, "stages": 0, "dependent": False, "constants": {}},
        **{"tensors": {}, "integers": {}, "operands": {}, "error": error},
    )


def _attributes(case: Case) -> Mapping[str, Any]:
    """The case's attributes, and the table's defaults for the others."""
    from octavo_kernels.generated.ops import OPS

    defaults = {name: one.default for name, one in OPS[case.op].attributes.items() if one.default is not None}
    return {**defaults, **case.attributes}


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
