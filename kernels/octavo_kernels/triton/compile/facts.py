"""What is known of one compiled kernel: plain data, kept as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Loop:
    """A loop in the machine code. Loops around it count its instructions as well."""

    start: int
    end: int
    #: Instructions of each kind (sass.KINDS) in one pass.
    mix: dict[str, int]
    #: Tensor-core instructions by their full name, such as "IMMA.16832.S8.S8.SAT".
    products: dict[str, int]
    #: No other loop lies within.
    innermost: bool

    @property
    def instructions(self) -> int:
        return sum(self.mix.values())


@dataclass(frozen=True)
class Facts:
    """Sizes in bytes. `ptx` counts what ptx.PATTERNS names; `sass` is the mix of the whole kernel."""

    kernel: str
    architecture: int
    warps: int
    registers: int
    spill_stores: int
    spill_loads: int
    stack: int
    shared: int
    ptx: dict[str, int]
    #: mma, wgmma and tcgen05 instructions by their full PTX name.
    products: dict[str, int]
    sass: dict[str, int]
    loops: list[Loop] = field(default_factory=list)

    @staticmethod
    def of(data: dict[str, Any]) -> Facts:
        """From what `dataclasses.asdict` gave."""
        return Facts(**{**data, "loops": [Loop(**loop) for loop in data["loops"]]})

    @property
    def spills_in_loops(self) -> int:
        return sum(loop.mix.get("spill", 0) for loop in self.loops if loop.innermost)

    def product_loop(self) -> Loop | None:
        """The innermost loop with most tensor-core instructions, the last of equals; None in a kernel without."""
        loops = [loop for loop in self.loops if loop.products]
        inner = [a for a in loops if not any(a is not b and a.start <= b.start and b.end <= a.end for b in loops)]
        return max(inner, key=lambda loop: (sum(loop.products.values()), loop.start), default=None)
