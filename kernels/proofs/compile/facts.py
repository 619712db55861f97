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

    def product_loops(self) -> list[Loop]:
        """The innermost loops with tensor-core instructions, by address.

        The compiler rotates loops, so that an outer one may begin within an inner one: of two that share code, the
        shorter is the inner.
        """
        found: list[Loop] = []
        for loop in sorted((loop for loop in self.loops if loop.products), key=lambda loop: loop.instructions):
            if not any(loop.start <= other.end and other.start <= loop.end for other in found):
                found.append(loop)
        return sorted(found, key=lambda loop: loop.start)

    def product_loop(self) -> Loop | None:
        """The one with most tensor-core instructions, the last of equals; None in a kernel without."""
        found = self.product_loops()
        return max(found, key=lambda loop: (sum(loop.products.values()), loop.start), default=None)
