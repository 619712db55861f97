"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a blank line after it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def amount(number: float) -> str:
    """Three digits that count, or a whole number."""
    if number == 0:
        return "0"
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{amount(count)} {unit}"
        count /= 1000
    return f"{amount(count)} GB"


def percent(share: float) -> str:
    """Without digits after the point from 10 % on."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
