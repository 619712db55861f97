"""Bytes that a launch must move between the GPU's memory and its SMs, if each is moved once."""

from __future__ import annotations

from octavo_kernels.generated.ops import PAGE_SIZE

from ..compile.cases import MOST_DECODE_ROWS
from ..compile.entries import Entry
from . import carries

#: Tokens of each sequence in a decode step, its own included.
DECODE_CONTEXT = 1024


def context(entry: Entry) -> int:
    """Tokens that a sequence has after this step."""
    return DECODE_CONTEXT if entry.rows <= MOST_DECODE_ROWS else entry.rows


def moved(entry: Entry, operand: str) -> int:
    """Bytes of an operand that the op touches, which are not all of them where it gathers."""
    whole, sizes = entry.operands[operand], entry.sizes
    rows = sizes.get("T", sizes.get("S", 1))
    match entry.op, operand:
        case "embed", "table":
            return whole // sizes["V"] * rows
        case "rows", "x":
            return whole // rows * sizes["S"]
        case (("rope" | "rope_append"), ("cos" | "sin")):
            return whole // sizes["P"] * min(rows, sizes["P"])
        case (("append" | "rope_append"), ("keys" | "values" | "steps")):
            return whole // (sizes["G"] * PAGE_SIZE) * rows
        case "attention", ("keys" | "values" | "steps"):
            return whole // (sizes["G"] * PAGE_SIZE) * sizes["B"] * context(entry)
        case "attention", "pages":
            return 4 * sizes["B"] * (context(entry) // PAGE_SIZE)
        case _, "carries":
            # Counts, and few of the places for a list.
            return 16 * rows + whole // 100
        case "linear_int8", "high" if entry.rows > MOST_DECODE_ROWS:
            return int(whole * carries.share(entry.label, carries.SECTOR))
        case "sample", ("history" | "biasIds" | "biasValues" | "masks"):
            return 0
        case _:
            return whole


def launch_bytes(entry: Entry) -> int:
    """Bytes of the operands that this launch is given."""
    return sum(moved(entry, name) for name in {one.operand for one in entry.tensors.values()} if name is not None)


def scratch_bytes(entry: Entry) -> int:
    """Bytes of memory between launches or programs; they mostly stay in L2."""
    return sum(one.bytes for one in entry.tensors.values() if one.operand is None)


#: Operands that no step before has left in L2: the floor of a decode step counts these.
PARAMETERS = ("weight", "scale", "bias", "table", "keys", "values", "steps", "cos", "sin")


def floor_bytes(entry: Entry) -> int:
    """Bytes of weights, KV cache and tables that the op needs, each once; given for an op's first launch only."""
    if entry.launch:
        return 0
    return sum(moved(entry, name) for name in PARAMETERS if name in entry.operands)
