"""What the kernels are to reach, and what the counts and the model say."""

from __future__ import annotations

from dataclasses import dataclass

from ..compile.models import LLAMA_8B, MODELS
from ..compile.store import Compiled
from .devices import A100, DEVICES, H100
from .markdown import amount, percent
from .steps import HEAD_OF_16_BITS, Step, launches, step
from .work import weight_loop

#: A decode step over the time to read its bytes once.
MOST_OVER_FLOOR = 1.35
#: Share of the issue budget of the linears' inner loop at up to 8 rows.
MOST_ISSUE = 0.20
#: Kernel launches of the 8-bit path of a decoder layer in decode: quantisation and linears.
MOST_LAUNCHES = 8


@dataclass(frozen=True)
class Target:
    """`limit` and `found` in words."""

    name: str
    limit: str
    found: str
    met: bool
    kind: str


def targets(compiled: Compiled) -> list[Target]:
    """Each with what was found, met or not."""
    return [_over_floor(compiled), *_issue(compiled), _launches(compiled), _spills(compiled)]


def heads(compiled: Compiled) -> tuple[Step, Step]:
    """A decode step of Llama-3-8B on an H100, one sequence: as its program is, and with a head of 16 bits."""
    return step(compiled, LLAMA_8B, 1, H100), step(compiled, LLAMA_8B, 1, H100, instead=HEAD_OF_16_BITS)


def over_floor(one: Step) -> str:
    """In words."""
    return f"{one.total / one.floor:.2f} times: {amount(one.total)} us over {amount(one.floor)} us"


def _over_floor(compiled: Compiled) -> Target:
    one, other = heads(compiled)
    ratio = one.total / one.floor
    found = f"{over_floor(one)}; with a head of 16 bits {over_floor(other)}"
    name = "Decode step of Llama-3-8B on an H100, one sequence, over its byte floor"
    return Target(name, f"{MOST_OVER_FLOOR} times", found, ratio <= MOST_OVER_FLOOR, "computed")


def _issue(compiled: Compiled) -> list[Target]:
    found = []
    for device in (H100, A100):
        worst, where = 0.0, ""
        for model in MODELS:
            for rows in (1, 2, 4, 8):
                for entry in launches(compiled, model.name, rows, device.architecture):
                    loop = weight_loop(entry, compiled.facts[entry.key])
                    if loop and loop[1] > worst:
                        worst, where = loop[1], f"{model.name}, {entry.label}"
        share = worst / device.issue_budget
        text = f"{percent(share)}: {amount(worst)} of {amount(device.issue_budget)} instructions ({where})"
        name = f"Issue slots of decode linears, up to 8 rows, {device.name}"
        found.append(Target(name, percent(MOST_ISSUE), text, 0 < share <= MOST_ISSUE, "counted"))
    return found


def _launches(compiled: Compiled) -> Target:
    worst = max(
        sum(part.times for part in step(compiled, LLAMA_8B, rows, device).parts if _eight_bit(part.entry.op))
        // LLAMA_8B.layers
        for rows in (1, 8, 32)
        for device in DEVICES
    )
    name = "Kernel launches of a layer's 8-bit path, Llama-3-8B, up to 32 rows"
    return Target(name, str(MOST_LAUNCHES), str(worst), worst <= MOST_LAUNCHES, "counted")


def _eight_bit(op: str) -> bool:
    return op == "linear_int8" or op.endswith("quantize")


def _spills(compiled: Compiled) -> Target:
    spilling = sorted(
        {f"{facts.kernel} (sm_{facts.architecture})" for facts in compiled.facts.values() if facts.spill_stores}
    )
    return Target("Compilations that spill registers", "none", ", ".join(spilling) or "none", not spilling, "counted")
