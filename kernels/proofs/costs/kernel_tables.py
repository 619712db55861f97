"""Tables of kernels: linears, issue budget, compilations, the other ops, the ways to skip zeros."""

from __future__ import annotations

from collections import defaultdict

from ..compile.cases import SHOWN
from ..compile.entries import Entry
from ..compile.facts import Facts
from ..compile.models import LLAMA_8B, MODELS
from ..compile.sass import KINDS
from ..compile.store import Compiled
from . import carries, model, traffic
from .devices import DEVICES, Device
from .markdown import amount, percent, size, table
from .occupancy import occupancy
from .steps import launches
from .work import Work, weight_loop, work

_HEAD = [device.name for device in DEVICES]


def spent(compiled: Compiled, entry: Entry, device: Device) -> tuple[Work, model.Time]:
    """A launch by itself in a graph, on a device of its architecture."""
    facts = compiled.facts[entry.key]
    done = work(entry, facts)
    return done, model.time(done, facts, device)


def _op(compiled: Compiled, name: str, rows: int, only: tuple[str, str], device: Device) -> tuple[float, str] | None:
    """Microseconds of all launches of an op, and what the longest waits for."""
    found = [spent(compiled, entry, device)[1] for entry in launches(compiled, name, rows, device.architecture, only)]
    if not found:
        return None
    return sum(one.total for one in found), max(found, key=lambda one: one.total).bound


def linears(compiled: Compiled) -> str:
    """Each int8 linear at each batch and GPU."""
    rows = []
    for one in MODELS:
        shapes = {
            entry.label: entry.sizes
            for entry in launches(compiled, one.name, 1, 90)
            if entry.op == "linear_int8" and entry.times > 1
        }
        for label, sizes in shapes.items():
            for count in SHOWN:
                cells = []
                for device in DEVICES:
                    found = _op(compiled, one.name, count, ("linear_int8", label), device)
                    floor = _linear_floor(sizes["N"], sizes["K"], count, device)
                    cells.append(f"{amount(found[0])} / {amount(floor)} {_SHORT[found[1]]}" if found else "")
                rows.append([f"{one.name} {label}", f"{sizes['N']} x {sizes['K']}", count, *cells])
    return table(["linear", "N x K", "rows", *_HEAD], rows)


_SHORT = {"memory": "m", "issue": "i", "multiply-adds": "f", "tensor cores": "t", "latency": "l"}


def _linear_floor(outputs: int, columns: int, rows: int, device: Device) -> float:
    """Microseconds: the larger of all bytes once and one dense int8 product, both at the data sheet's rates."""
    count = outputs * columns + 4 * outputs + rows * (columns + 4 * outputs)
    products = outputs * columns * rows
    rate = device.int8 * device.processors * device.gigahertz * 1e3
    return max(count / device.memory / 1e3, products / rate)


def issue(compiled: Compiled) -> str:
    """The loop over the weights of the decode linears against the issue budget."""
    seen, rows = set(), []
    for device in DEVICES:
        for entry in compiled.entries:
            if entry.architecture != device.architecture or entry.kernel != "decode" or entry.key not in compiled.facts:
                continue
            found = weight_loop(entry, compiled.facts[entry.key])
            constants = entry.constants
            identity = (device.name, *(constants[name] for name in ("BLOCK_M", "BLOCK_N", "BLOCK_K", "EVEN")))
            if found is None or identity in seen:
                continue
            seen.add(identity)
            loop, each = found
            mix = {name: loop.mix.get(name, 0) for name in ("tensor", "copy", "shared", "integer", "barrier")}
            rest = loop.instructions - sum(mix.values())
            line = [device.name, constants["BLOCK_M"], _tile(entry), "" if constants["EVEN"] else "masks"]
            line += [loop.instructions, *mix.values(), rest, amount(each), amount(device.issue_budget)]
            rows.append([*line, percent(each / device.issue_budget)])
    head = ["GPU", "most rows", "tile", "", "loop", "tensor", "copy", "shared", "integer", "barrier", "other"]
    return table(
        [*head, "per 512 B", "budget", "share"], sorted(rows, key=lambda row: (_HEAD.index(str(row[0])), *row[1:4]))
    )


def _tile(entry: Entry) -> str:
    names = ("BLOCK_M", "BLOCK_N", "BLOCK_K")
    return " x ".join(str(entry.constants[name]) for name in names)


def compilations(compiled: Compiled) -> str:
    """Every distinct compilation; architectures with equal counts share a line."""
    lines: dict[tuple[object, ...], list[int]] = defaultdict(list)
    first: dict[str, Entry] = {}
    for entry in compiled.entries:
        if entry.key in compiled.facts:
            first.setdefault(entry.key, entry)
    by_architecture = {device.architecture: device for device in DEVICES}
    for key, entry in sorted(first.items(), key=lambda item: (item[1].op, item[1].kernel, item[1].architecture)):
        facts = compiled.facts[key]
        device = by_architecture.get(entry.architecture)
        held = percent(occupancy(facts, device)) if device else ""
        line = (f"`{entry.kernel}`", entry.op, _configuration(entry), facts.registers, size(facts.shared), held)
        line += (_inner(facts), facts.spill_stores)
        lines[line].append(entry.architecture)
    rows = [
        [*line[:3], ", ".join(str(one) for one in sorted(set(architectures))), *line[3:]]
        for line, architectures in lines.items()
    ]
    head = ["kernel", "op", "configuration", "sm_", "registers", "shared", "occupancy", "inner loop", "spills, B"]
    return table(head, rows)


#: Constants that a table is easier to read without.
_DULL = ("UNIT_OFFSET", "SOFTCAP", "WINDOW", "EVEN", "DEPENDENT")


def _configuration(entry: Entry) -> str:
    shown = [
        f"{name} {value}" for name, value in entry.constants.items() if name not in _DULL and value not in ("", None)
    ]
    return ", ".join([*shown, f"{entry.warps} warps"]).lower()


def _inner(facts: Facts) -> str:
    """The inner loop, or the whole kernel where there is none: instructions and their mix."""
    inner = [loop for loop in facts.loops if loop.innermost]
    loop = facts.product_loop() or max(inner, key=lambda one: one.instructions, default=None)
    mix = loop.mix if loop else facts.sass
    most = sorted(((count, kind) for kind, count in mix.items() if kind in KINDS), reverse=True)[:4]
    text = ", ".join(f"{kind} {count}" for count, kind in most)
    return f"{sum(mix.values())}: {text}" if loop else f"none; {sum(mix.values())}: {text}"


def others(compiled: Compiled) -> str:
    """Every op at the shapes of Llama-3-8B: bytes, integer work and computed time."""
    rows = []
    for only in sorted({(entry.op, entry.label) for entry in launches(compiled, LLAMA_8B.name, 1, 90)}):
        op, label = only
        for count in SHOWN:
            entries = launches(compiled, LLAMA_8B.name, count, 90, only)
            cells = []
            for device in DEVICES:
                found = _op(compiled, LLAMA_8B.name, count, only, device)
                cells.append(f"{amount(found[0])} {_SHORT[found[1]]}" if found else "")
            if entries and all(cells):
                products = sum(work(entry, compiled.facts[entry.key]).products for entry in entries)
                moved, between = (
                    size(sum(count_bytes(entry) for entry in entries))
                    for count_bytes in (traffic.launch_bytes, traffic.scratch_bytes)
                )
                rows.append([f"`{op}`: {label}", count, moved, between, _billions(products), *cells])
    return table(["op", "rows", "bytes", "scratch", "int8 products", *_HEAD], rows)


def _billions(count: float) -> str:
    return f"{amount(count / 1e9)} G" if count else ""


def skipping() -> str:
    """What the second digits of a prefill cost beside the dense product, by the way to find them."""
    rows = []
    for label in carries.BLOCKS_64:
        ways = carries.ways(label)
        rows.append([label, percent(carries.COLUMNS[label]), *(f"{percent(way.extra)}" for way in ways)])
    return table(["linear", "columns with a carry", *(way.name for way in carries.ways("down_proj"))], rows)
