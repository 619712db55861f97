"""Rows of activations: ordinary ones and the edges of LLM.int8()."""

from __future__ import annotations

import numpy as np

SUBNORMAL = np.float32(2.0**-140)
LARGEST = np.finfo(np.float32).max


def ordinary(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Normal numbers, a few columns far larger, as in the hidden states that LLM.int8() is about; float32."""
    x = rng.standard_normal((rows, columns)).astype(np.float32)
    if columns > 1:
        outliers = rng.choice(columns, max(1, columns // 50), replace=False)
        x[:, outliers] *= np.float32(12)
    return x


def edges(rng: np.random.Generator, columns: int) -> np.ndarray:
    """One row for each case that quantisation has to get right; [rows, columns] float32."""
    x = ordinary(rng, len(EDGES), columns)
    with np.errstate(over="ignore", under="ignore"):
        for row, change in zip(x, EDGES.values()):
            change(row)
    return x


def _at(value: float, places: slice = slice(0, 1), rest: float | None = None):
    def change(row: np.ndarray) -> None:
        if rest is not None:
            row *= np.float32(rest)
        row[places] = np.float32(value)

    return change


def _halves(row: np.ndarray) -> None:
    """Ties of rint: the step is exactly 1."""
    row[:] = (np.arange(row.size) % 60 - 30 + 0.5) / 16
    row[-1] = 127 / 16


def _mixed(row: np.ndarray) -> None:
    """All magnitudes of float32."""
    row[:] = np.sign(row) * 2.0 ** np.linspace(-149, 100, row.size)


_EVERY = slice(None)
_LAST = slice(-1, None)

EDGES = {
    "zeros": _at(0, _EVERY),
    "negative zeros": _at(-0.0, _EVERY),
    "NaN first": _at(np.nan),
    "ordinary after NaN": _at(1),
    "Inf last": _at(np.inf, _LAST),
    "minus Inf": _at(-np.inf),
    "exactly the threshold": _at(6.0, slice(0, 2), 0.5),
    "just below the threshold": _at(5.9999995, slice(0, 2), 0.5),
    "minus the threshold last": _at(-6.0, _LAST, 0.5),
    "one huge among tiny": _at(3000.0, _LAST, 1e-3),
    "one huge beyond two digits": _at(1e30, _LAST, 1e-3),
    "all outliers": _at(100.0, _EVERY),
    "all outliers of both signs": _at(-60.0, slice(0, None, 2), 50.0),
    "subnormals": _at(float(SUBNORMAL), slice(0, None, 2), float(SUBNORMAL)),
    "smallest subnormal": _at(2.0**-149, _LAST, 0.0),
    "tiny normals": _at(1.5 * 2.0**-126, _LAST, 2.0**-127),
    "largest float": _at(float(LARGEST), _LAST),
    "sum overflows": _at(float(LARGEST), _EVERY),
    "square overflows": _at(1e25, slice(0, None, 3)),
    "minus Inf everywhere": _at(-np.inf, _EVERY),
    "ties": _halves,
    "all magnitudes": _mixed,
    "constant": _at(0.37, _EVERY),
}
