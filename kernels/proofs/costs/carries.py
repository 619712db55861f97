"""Where second digits are in prefill, and what the ways to skip their zeros cost."""

from __future__ import annotations

from dataclasses import dataclass

#: Share of columns that have a carry somewhere in a tile of 128 rows, adaptive threshold: emulated on SmolLM2-135M over
#: 2,048 tokens of technical English. By the labels of programs.
COLUMNS = {
    "q_proj+k_proj+v_proj": 0.01,
    "gate_proj+up_proj": 0.01,
    "o_proj": 0.03,
    "down_proj": 0.14,
}
#: Every column has one: the head's own threshold is "all".
DENSE = ("logits",)
#: The same table: share of blocks of 128 rows and 64 columns with a carry, adaptive and with threshold 6.
BLOCKS_64 = {
    "q_proj+k_proj+v_proj": (0.60, 0.07),
    "gate_proj+up_proj": (0.60, 0.01),
    "o_proj": (0.74, 0.04),
    "down_proj": (1.00, 0.33),
}
#: Columns of a group of the kernels' lists (ops/linear_int8/plan.py).
GROUP = 32
#: Columns that a 32-byte sector of L2 holds: what any read of a weight brings.
SECTOR = 32


def share(label: str, width: int) -> float:
    """Share of groups of `width` columns that a tile of 128 rows must multiply; columns are taken to be scattered."""
    if label in DENSE:
        return 1
    return 1 - (1 - COLUMNS.get(label, 0.01)) ** width


@dataclass(frozen=True)
class Way:
    """Beside the dense product of the low digits, which is 1: more tensor-core work, more bytes from L2 into the SM."""

    name: str
    tensor: float
    traffic: float

    @property
    def extra(self) -> float:
        """Of the dense product's time, where tensor cores and L2 port are equally busy, as in a tile of 128 x 128."""
        return max(self.tensor, self.traffic)


def ways(label: str) -> list[Way]:
    """Dense second digits, lists of blocks, of groups, compacted columns."""
    sector = share(label, SECTOR)
    blocks = BLOCKS_64.get(label, BLOCKS_64["gate_proj+up_proj"])[0]
    return [
        Way("both digits dense", 1, 1),
        Way("list of 64-column blocks", blocks, blocks),
        Way(f"list of {GROUP}-column groups", share(label, GROUP), max(sector, share(label, GROUP))),
        # Single bytes of a weight's rows: one sector each unless two share it, and no asynchronous copy is that small.
        Way("compacted columns", share(label, 1), sector),
    ]
