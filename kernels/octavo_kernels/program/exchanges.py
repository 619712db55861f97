"""Ops that the ranks of a group do together."""

from __future__ import annotations

from .spec import ProgramSpec

_EXCHANGES = ("gather", "send", "receive")


def exchanges_of(spec: ProgramSpec) -> dict[int, int]:
    """By op of a program that exchanges numbers with other ranks: which of its kind it is."""
    counts = dict.fromkeys(_EXCHANGES, 0)
    found = {}
    for index, operation in enumerate(spec.ops):
        if operation.op in counts:
            found[index] = counts[operation.op]
            counts[operation.op] += 1
    return found
