"""Is a result right? Equal where the contract fixes every rounding; else within a derived bound of the reference.

Every bound is per element and counts float32 roundings of relative size `EPS` = 2^-24. Not fixed to the bit are only
the logarithms of `sample` and `score`, where the reference goes through float64 to be an independent witness. Backends
among themselves are equal to the bit everywhere: `identical`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .case import Case, Result

EPS = 2.0**-24

Bound = Callable[[Case, Result], np.ndarray]


def identical(case: Case, result: Result, expected: Result) -> list[str]:
    """Operands that differ anywhere (NaN equals NaN, whatever its bits), with the first place; counters too."""
    found = []
    for name, array in expected.arrays.items():
        found += _unequal(name, _specified(name, result.arrays[name], array), _specified(name, array, array))
    return found + _counters(result, expected)


def differences(case: Case, result: Result, expected: Result) -> list[str]:
    """As `identical`, but within the bound where one stands in BOUNDS; `expected` is the reference's result."""
    found = []
    bounds = bounds_of(case)
    for name, array in expected.arrays.items():
        if name not in bounds:
            found += _unequal(name, _specified(name, result.arrays[name], array), _specified(name, array, array))
            continue
        with np.errstate(all="ignore"):
            got, want = (np.asarray(x, np.float64) for x in (result.arrays[name], array))
            limit = bounds[name](case, expected)
            outside = ~((np.abs(got - want) <= limit) | (got == want) | (np.isnan(got) & np.isnan(want)))
        if outside.any():
            at = tuple(int(i) for i in np.argwhere(outside)[0])
            bound = np.broadcast_to(limit, want.shape)[at]
            found.append(
                f"{name}{list(at)}: {got[at]!r}, expected {want[at]!r} within {bound:.3g} ({outside.sum()} such)"
            )
    return found + _counters(result, expected)


def bounds_of(case: Case) -> dict[str, Bound]:
    """Bounds of the results that are not fixed to the bit; the others must be equal."""
    if case.op == "sample":
        return {"logprob": _log, "topLogprobs": _top_logs}
    if case.op == "score":
        return {"nll": _log, "kl": _divergence}
    return {}


def _log(case: Case, expected: Result) -> np.ndarray:
    # The logarithm of a sum of V exponentials: each within 2 ulp (4 EPS), log2(V) + V / 16 additions (lanes, a
    # tree) at most, the logarithm within 2 ulp of a number up to log V, and two subtractions of logits of this size.
    logits = case.inputs["logits"].astype(np.float64)
    largest = np.abs(np.where(np.isfinite(logits), logits, 0)).max(axis=1, initial=0)
    vocabulary = logits.shape[1]
    sums = 4 + np.log2(vocabulary) + vocabulary / 16
    bound = EPS * (sums + 8 * np.log(vocabulary + 1) + 4 * largest)
    return bound


def _top_logs(case: Case, expected: Result) -> np.ndarray:
    return _log(case, expected)[:, None]


def _divergence(case: Case, expected: Result) -> np.ndarray:
    # sum p (a - b): both logarithms within _log, p within as much relatively, |a - b| up to the logits' range.
    logits = case.inputs["logits"].astype(np.float64)
    return 4 * _log(case, expected) * (1 + np.ptp(logits, axis=1))


def _specified(name: str, array: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """`carries` without what follows the listed groups, which is anything."""
    if name != "carries":
        return array
    listed = np.arange(array.shape[1]) < 4 + expected[:, :1]
    return np.where(listed, array, 0)


def _unequal(name: str, got: np.ndarray, want: np.ndarray) -> list[str]:
    if got.shape != want.shape or got.dtype != want.dtype:
        return [f"{name}: {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"]
    wrong = got != want
    if got.dtype.kind == "f":
        wrong &= ~(np.isnan(got) & np.isnan(want))
    elif got.dtype == np.uint16:  # bfloat16 as its bits
        wrong &= ~((got & 0x7FFF > 0x7F80) & (want & 0x7FFF > 0x7F80))
    if not wrong.any():
        return []
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return [f"{name}{list(at)}: {got[at]!r}, expected {want[at]!r} ({wrong.sum()} of {wrong.size} differ)"]


def _counters(result: Result, expected: Result) -> list[str]:
    return [
        f"counter {name}: {getattr(result.counters, name)}, expected {getattr(expected.counters, name)}"
        for name in ("quantized", "carries", "nonfinite")
        if getattr(result.counters, name) != getattr(expected.counters, name)
    ]
