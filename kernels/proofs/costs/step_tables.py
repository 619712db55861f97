"""Tables of whole steps."""

from __future__ import annotations

from collections.abc import Sequence

from ..compile.cases import MOST_DECODE_ROWS, SHOWN
from ..compile.models import LLAMA_8B, MODELS, Model
from ..compile.store import Compiled
from .devices import DEVICES, H100, Device
from .markdown import amount, size, table
from .published import STEPS
from .steps import Part, Step, step
from .traffic import launch_bytes


def one_step(compiled: Compiled, model: Model, rows: int, device: Device) -> str:
    """Launch by launch."""
    found = step(compiled, model, rows, device)
    body = [
        [
            *(part.entry.label, f"`{part.entry.kernel}`", part.times, size(launch_bytes(part.entry))),
            *(amount(part.floor), amount(part.spent), part.time.bound, amount(part.spent * part.times)),
        ]
        for part in found.parts
    ]
    body.append(["**step**", "", found.launches, "", amount(found.floor), "", "", f"**{amount(found.total)}**"])
    head = ["op", "kernel", "times", "bytes (counted)", "floor, us", "us each", "waits for", "us in all"]
    return table(head, body)


def where_time_goes(found: Step) -> str:
    """What is above the floor, by reason."""
    stream = sum(part.time.memory * part.times for part in found.parts if part.floor > 1)
    fixed = sum(part.time.fixed * part.times for part in found.parts)
    hidden = sum((part.time.total - part.spent) * part.times for part in found.parts)
    rest = found.total - stream - fixed + hidden
    rows = [
        ["bytes of weights, scales and cache at the data sheet's bandwidth (the floor)", amount(found.floor)],
        ["a stream's real share of that bandwidth, and too few bytes on the way", amount(stream - found.floor)],
        ["launches, starts and ends of kernels", amount(fixed)],
        ["bodies of the other kernels: chains of dependent instructions", amount(rest)],
        ["hidden by programmatic dependent launch", f"-{amount(hidden)}"],
        ["**step**", f"**{amount(found.total)}**"],
    ]
    return table(["part", "us (computed)"], rows)


def totals(compiled: Compiled, models: Sequence[Model] = MODELS, counts: Sequence[int] = SHOWN) -> str:
    """Models, batches and GPUs: computed milliseconds, and how far above the floor."""
    rows = []
    for model in models:
        for count in counts:
            cells = []
            for device in DEVICES:
                found = step(compiled, model, count, device)
                cells.append(f"{amount(found.total / 1e3)} ({found.total / found.floor:.2f})")
            rows.append([model.name, "prefill" if count > MOST_DECODE_ROWS else "decode", count, *cells])
    return table(["model", "step", "rows", *(device.name for device in DEVICES)], rows)


def farthest(compiled: Compiled, model: Model, counts: Sequence[int], device: Device, most: int) -> str:
    """The ops that lose most beside their floor in a step of so many rows, at most `most` of each step."""
    rows = []
    for count in counts:
        launches: dict[str, list[Part]] = {}
        for part in step(compiled, model, count, device).parts:
            launches.setdefault(f"`{part.entry.op}`: {part.entry.label}", []).append(part)
        spent = {name: sum(part.spent * part.times for part in parts) for name, parts in launches.items()}
        floor = {name: sum(part.floor * part.times for part in parts) for name, parts in launches.items()}
        for name in sorted(launches, key=lambda name: floor[name] - spent[name])[:most]:
            longest = max(launches[name], key=lambda part: part.spent)
            rows.append([count, name, longest.time.bound, amount(spent[name]), amount(floor[name])])
    return table(["rows", "op", "waits for", "us in all", "floor, us"], rows)


def dependent_launch(compiled: Compiled) -> str:
    """With and without programmatic dependent launch."""
    rows = []
    for count in (1, 8, 32):
        on, off = (step(compiled, LLAMA_8B, count, H100, dependent=flag) for flag in (True, False))
        rows.append([count, *(amount(one.total / 1e3) for one in (on, off)), f"{off.total / on.total:.2f}"])
    return table(["sequences", "with, ms", "without, ms", "times"], rows)


def beside_published(compiled: Compiled) -> str:
    """bitsandbytes' decode steps beside ours."""
    devices = {device.name: device for device in DEVICES}
    models = {model.name: model for model in MODELS}
    rows = []
    for one in STEPS:
        ours = step(compiled, models[one.model], one.rows, devices[one.hardware])
        sixteen = "" if one.sixteen_bit is None else str(one.sixteen_bit)
        plain = "" if one.plain is None else str(one.plain)
        line = [one.model, one.hardware, one.rows, sixteen, plain, one.mixed]
        rows.append([*line, amount(ours.total / 1e3), amount(ours.floor / 1e3)])
    head = ["model", "GPU", "sequences", "16 bit", "int8, t = 0", "LLM.int8(), t = 6"]
    return table([*head, "Octavo (computed)", "floor (computed)"], rows)
