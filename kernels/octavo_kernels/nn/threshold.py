"""The dial between no decomposition and 16-bit activations, as attributes of the ops (ts/program/threshold.ts)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from ..errors import ErrorCode, KernelError

#: 0: no outliers. A number t: |x| >= t (6 is the paper's). "adaptive": |x| >= min(6, 6 rms(row)). "all": everything.
#: A pair sets both constants of the adaptive rule.
Threshold = float | str | tuple[float, float]

MODES = ("exact", "published")


@dataclass(frozen=True)
class Dial:
    """Attributes of `quantize`. Those that a kind does not use are fixed, so that equal settings are equal programs."""

    decompose: str
    absolute: float = 0.0
    relative: float = 0.0


def dial(threshold: Threshold) -> Dial:
    """Raises KernelError OCTAVO_BAD_ARGUMENT for anything that is no threshold."""
    match threshold:
        case "adaptive":
            return Dial("adaptive", 6.0, 6.0)
        case "all":
            return Dial("all")
        case (absolute, relative) if _positive(absolute) and _positive(relative):
            return Dial("adaptive", float(absolute), float(relative))
        case int() | float() if _positive(threshold):
            return Dial("threshold", float(threshold))
        case int() | float() if threshold == 0 and not isinstance(threshold, bool):
            return Dial("off")
    text = 'it takes 0 (no decomposition), a positive number, "adaptive", "all", or a pair (absolute, relative)'
    raise KernelError(ErrorCode.BAD_ARGUMENT, f"threshold is {threshold!r}; {text}")


def check_mode(mode: str, threshold: Threshold) -> None:
    """Raises KernelError OCTAVO_BAD_ARGUMENT for an unknown mode, or a threshold that the mode does not take."""
    if mode not in MODES:
        raise KernelError(ErrorCode.BAD_ARGUMENT, f"mode is {mode!r}; there are {', '.join(MODES)}")
    dial(threshold)
    if mode == "published" and not isinstance(threshold, int | float):
        text = f'mode "published" takes a number as threshold (6 is the paper\'s, 0 for none), not {threshold!r}'
        raise KernelError(ErrorCode.BAD_ARGUMENT, text)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0
