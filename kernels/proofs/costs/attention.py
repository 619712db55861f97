"""What attention's launches do: the blocks of keys that their programs visit, and the int8 products of each."""

from __future__ import annotations

from dataclasses import dataclass

from octavo_kernels.generated.ops import ATTENTION_BLOCK

from ..compile.entries import Entry
from ..compile.facts import Facts
from . import traffic


@dataclass(frozen=True)
class Attending:
    """Of one launch. Blocks are means over its programs."""

    #: Programs with keys to look at: the others end at once.
    programs: int
    #: Blocks of which all queries see all keys, and others.
    whole: float
    masked: float

    @property
    def blocks(self) -> float:
        return self.whole + self.masked


def attending(entry: Entry) -> Attending:
    """Of an op `attention` whose queries see the keys up to their own, or all."""
    sizes, constants, length = entry.sizes, entry.constants, traffic.context(entry)
    every = -(-length // ATTENTION_BLOCK)
    if "join" in entry.kernel:
        return Attending(sizes["T"] * entry.attributes["heads"], every, 0)
    if "blocks" in entry.kernel:
        return Attending(sizes["T"] * entry.grid[0] * every, 0, 1)
    queries = int(constants["QUERIES"])
    each = sizes["T"] // sizes["B"]
    firsts = [length - each + first for first in range(0, each, queries)]
    lasts = [min(first + queries, length) - 1 for first in firsts]
    if not constants["CAUSAL"]:
        firsts = lasts = [length - 1] * len(firsts)
    whole = [0 if constants["WINDOW"] else (first + 1) // ATTENTION_BLOCK for first in firsts]
    ends = [last // ATTENTION_BLOCK + 1 for last in lasts]
    begins = [
        max(0, first - constants["WINDOW"] + 1) // ATTENTION_BLOCK if constants["WINDOW"] else 0 for first in firsts
    ]
    masked = [end - begin - common for begin, end, common in zip(begins, ends, whole)]
    programs = len(firsts) * sizes["B"] * entry.grid[0]
    return Attending(programs, sum(whole) / len(whole), sum(masked) / len(masked))


def products(entry: Entry) -> float:
    """int8 multiply-adds of a program for one block: of each pair of digits, for scores and for values."""
    constants = entry.constants
    if "M" not in constants:
        return 0
    pairs = 4 if constants["WIDE"] else 2
    return 2 * pairs * int(constants["M"]) * ATTENTION_BLOCK * int(constants["BLOCK_D"])


def instructions(entry: Entry, facts: Facts, visits: Attending) -> float:
    """Of a warp: each loop as often as it has blocks, other code once."""
    every = sum(facts.sass.values())
    if "join" in entry.kernel:
        # Unrolled by 4 (split.py); the loop for the rest counts as other code.
        loop = max((one.instructions for one in facts.loops if one.innermost), default=0)
        return every + (visits.blocks / 4 - 1) * loop
    if "blocks" in entry.kernel:
        return every
    # Of a window there is no loop without a mask.
    counts = (visits.masked,) if entry.constants["WINDOW"] else (visits.whole, visits.masked)
    passes = zip(facts.product_loops(), counts, strict=True)
    return every + sum((count - 1) * loop.instructions for loop, count in passes)


def key_bytes(entry: Entry) -> float:
    """Bytes of a block's keys, which a program asks for at a time."""
    return ATTENTION_BLOCK * entry.attributes["headDim"] * (2 if entry.constants.get("WIDE", True) else 1)
