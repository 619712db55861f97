"""A whole step: its launches one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..compile.cases import HEAD_16_BIT
from ..compile.cases import step as cases
from ..compile.entries import Entry
from ..compile.facts import Facts
from ..compile.models import Model
from ..compile.store import Compiled
from . import model, traffic
from .devices import Device
from .work import work


@dataclass(frozen=True)
class Part:
    """One launch of a step, `times` times."""

    entry: Entry
    facts: Facts
    time: model.Time
    #: Microseconds of one launch after the one before.
    spent: float
    #: Microseconds to move weights, scales and cache once, or for one dense int8 product: the larger, by data sheet.
    floor: float
    times: int


@dataclass(frozen=True)
class Step:
    """Microseconds."""

    parts: list[Part]

    @property
    def total(self) -> float:
        return sum(part.spent * part.times for part in self.parts)

    @property
    def floor(self) -> float:
        return sum(part.floor * part.times for part in self.parts)

    @property
    def launches(self) -> int:
        return sum(part.times for part in self.parts)


def launches(
    compiled: Compiled, name: str, rows: int, architecture: int, only: tuple[str, str] | None = None
) -> list[Entry]:
    """A model's launches at so many rows, in order; only those of an op under a label where `only` says so."""
    found = compiled.by_step.get((name, rows, architecture), [])
    return [one for one in found if only is None or (one.op, one.label) == only]


#: The head that a program has -> the same of 16 bits, for `instead` of a step of one row.
HEAD_OF_16_BITS = {("linear_int8", "logits"): ("linear_float", HEAD_16_BIT)}


def step(
    compiled: Compiled,
    of: Model,
    rows: int,
    device: Device,
    *,
    dependent: bool = True,
    instead: Mapping[tuple[str, str], tuple[str, str]] | None = None,
) -> Step:
    """The step after fusion in a CUDA graph. `dependent`: with programmatic dependent launches where there are some;
    `instead`: other ops under other labels in the place of some."""
    by_label: dict[tuple[str, str], list[Entry]] = {}
    for entry in launches(compiled, of.name, rows, device.architecture):
        by_label.setdefault((entry.op, entry.label), []).append(entry)
    parts: list[Part] = []
    before, open_early = 0.0, False
    for case in cases(of, rows):
        own = (case.op, case.label)
        for entry in by_label.get((instead or {}).get(own, own), []):
            facts = compiled.facts[entry.key]
            done = work(entry, facts)
            took = model.time(done, facts, device, in_graph=dependent)
            hidden = min(took.early, before, took.total - model.DEPENDENT_LAUNCH) if open_early else 0.0
            spent = took.total - hidden
            floor = max(traffic.floor_bytes(entry) / device.memory / 1e3, _product_floor(entry, device))
            parts.append(Part(entry, facts, took, spent, floor, case.times))
            before, open_early = spent, done.lets_start
    return Step(parts)


def _product_floor(entry: Entry, device: Device) -> float:
    if entry.op != "linear_int8" or entry.launch:
        return 0
    products = entry.sizes["T"] * entry.sizes["N"] * entry.sizes["K"]
    return products / (device.int8 * device.processors * device.gigahertz * 1e3)
