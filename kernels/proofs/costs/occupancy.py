"""How many programs an SM holds at once."""

from __future__ import annotations

from ..compile.facts import Facts
from .devices import REGISTERS, Device

#: Shared memory that CUDA keeps of every program's.
_RESERVED = 1024


def resident(facts: Facts, device: Device) -> int:
    """By registers, shared memory, threads and the SM's own limit; at least 1."""
    # A warp gets registers in units of 256, a thread in units of 8.
    registers = (facts.registers + 7) // 8 * 8 * 32 * facts.warps
    limits = (
        REGISTERS // registers,
        device.shared // (facts.shared + _RESERVED),
        device.threads // (32 * facts.warps),
        device.programs,
    )
    return max(1, min(limits))


def occupancy(facts: Facts, device: Device) -> float:
    """Share of the SM's warps that can be there at once."""
    return resident(facts, device) * facts.warps * 32 / device.threads
