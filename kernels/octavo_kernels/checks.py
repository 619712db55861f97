"""Checks of what only a step's data can tell: ids, slots, page tables, starts. Shared by all backends; numpy only.

`DataChecks(spec)` finds them once; `run` makes them before the step has any effect. The thirty attention ops of a
model look at the same arrays, so equal checks are made once.

The arrays of a decode step are short, and the caches are full of weights when they are checked: every numpy function
then costs 5 to 10 us before it does anything (162 us for all checks at one row, measured), so the checks of each step
work on lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from .errors import KernelError
from .generated.ops import MAX_LOGPROBS, PAGE_SIZE
from .places import written_root
from .program import Arena, Operation, ProgramSpec, resolve

Read = Callable[[int], np.ndarray]
# Reads operands of one op by name, knows its shapes: (shape of, array of).
_Check = Callable[["_Operands"], None]


class DataChecks:
    """The data-dependent checks of one validated program."""

    def __init__(self, spec: ProgramSpec) -> None:
        self._spec = spec
        self._checks: list[tuple[_Check, str, Operation]] = []
        seen: set[tuple] = set()
        for index, operation in enumerate(spec.ops):
            for check, operands in CHECKS.get(operation.op, ()):
                # What the step itself computes cannot be checked before it; `sample` makes ids that are right.
                if any(self._computed(operation.inputs.get(name)) for name in operands):
                    continue
                bounds = tuple(spec.values[value].shape for value in operation.inputs.values())
                key = (
                    check,
                    tuple(operation.inputs.get(name) for name in operands),
                    bounds,
                )
                if key not in seen:
                    seen.add(key)
                    self._checks.append((check, f"op {index} ({operation.op})", operation))

    def run(self, sizes: Mapping[str, int], read: Read) -> None:
        """`read(value)`: the array of a value of the program, rows of any stride. Raises KernelError."""
        for check, where, operation in self._checks:
            check(_Operands(self._spec, operation, where, sizes, read))

    def _computed(self, value: int | None) -> bool:
        return value is not None and isinstance(self._spec.values[written_root(value, self._spec.values)].place, Arena)


class _Operands:
    def __init__(
        self,
        spec: ProgramSpec,
        operation: Operation,
        where: str,
        sizes: Mapping[str, int],
        read: Read,
    ) -> None:
        self._spec, self._operation, self._sizes, self._read = (
            spec,
            operation,
            sizes,
            read,
        )
        self.where = where

    def array(self, name: str) -> np.ndarray | None:
        value = self._operation.inputs.get(name)
        return None if value is None else self._read(value)

    def given(self, name: str) -> np.ndarray:
        array = self.array(name)
        assert array is not None, name
        return array

    def shape(self, name: str) -> tuple[int, ...]:
        return resolve(self._spec.values[self._operation.inputs[name]].shape, self._sizes)

    def refuse(self, text: str, code: str = "OCTAVO_BAD_ARGUMENT") -> None:
        raise KernelError(code, f"{self.where}: {text}")

    def within(self, name: str, low: int, high: int, code: str = "OCTAVO_BAD_ARGUMENT") -> None:
        """Every element in [low, high)."""
        array = self.given(name)
        if array.size == 0:
            return
        smallest, largest = _bounds(array)
        if smallest < low or largest >= high:
            wrong = smallest if smallest < low else largest
            self.refuse(f"{name} has {wrong}; accepted: {low}..{high - 1}", code)

    def starts(self, name: str, total: int) -> list[int]:
        """An ascending array from 0 to `total`."""
        given = self.given(name).tolist()
        if not given or given[0] != 0 or given[-1] != total or any(a > b for a, b in pairwise(given)):
            self.refuse(f"{name} must ascend from 0 to {total}, got {given[:8]}{' ...' if len(given) > 8 else ''}")
        return given


def _token_ids(o: _Operands, ids: str, vocabulary: int) -> None:
    """Ids in the vocabulary; -1-j is row j of `sampled`, which must exist and itself hold an id of the vocabulary."""
    sampled = o.array("sampled")
    rows = 0 if sampled is None else sampled.size
    o.within(ids, -rows, vocabulary, "OCTAVO_TOKEN_OUT_OF_RANGE")
    if sampled is None:
        return
    held = sampled.tolist()
    for given in o.given(ids).tolist():
        if given < 0 and not 0 <= held[-1 - given] < vocabulary:
            text = f"{ids} means the sampled id {held[-1 - given]} of {vocabulary}"
            o.refuse(text, "OCTAVO_TOKEN_OUT_OF_RANGE")


def _embed(o: _Operands) -> None:
    _token_ids(o, "tokens", o.shape("table")[0])


def _positions(o: _Operands) -> None:
    o.within("positions", 0, o.shape("cos")[0])


def _slots(o: _Operands) -> None:
    o.within("slots", 0, o.shape("keys")[0] * PAGE_SIZE)


def _attention(o: _Operands) -> None:
    starts = o.starts("starts", o.shape("q")[0])
    lengths, pages = o.given("lengths").tolist(), o.given("pages").tolist()
    room, total = o.shape("pages")[1] * PAGE_SIZE, o.shape("keys")[0]
    for b, (length, own) in enumerate(zip(lengths, pages, strict=True)):
        queries = starts[b + 1] - starts[b]
        if length < queries or length > room:
            o.refuse(f"sequence {b} has {length} keys, with {queries} queries and pages for {room} keys")
        used = own[: -(-length // PAGE_SIZE)]
        if used and (min(used) < 0 or max(used) >= total):
            o.refuse(f"pages names page {next(page for page in used if not 0 <= page < total)} of {total}")


def _rows(o: _Operands) -> None:
    o.within("index", 0, o.shape("x")[0])


def _targets(o: _Operands) -> None:
    o.within("targets", 0, o.shape("logits")[1], "OCTAVO_TOKEN_OUT_OF_RANGE")


def _pool(o: _Operands) -> None:
    o.starts("starts", o.shape("x")[0])


def _sample_history(o: _Operands) -> None:
    o.starts("historyStarts", o.shape("history")[0])
    _token_ids(o, "history", o.shape("logits")[1])


def _sample_bias(o: _Operands) -> None:
    o.starts("biasStarts", o.shape("biasIds")[0])
    o.within("biasIds", 0, o.shape("logits")[1], "OCTAVO_TOKEN_OUT_OF_RANGE")


def _sample_counters(o: _Operands) -> None:
    counters = o.given("counters")
    if counters.shape[0] > o.shape("sampled")[0]:
        o.refuse(f"{counters.shape[0]} rows are sampled, but `sampled` has {o.shape('sampled')[0]}")
    top_k, _, _, _, logprobs, mask = zip(*counters.tolist(), strict=True) if len(counters) else ((),) * 6
    for values, name, low, high in (
        (top_k, "top-k", 0, 2**31),
        (logprobs, "logprobs", -1, MAX_LOGPROBS + 1),
        (mask, "mask", -1, o.shape("masks")[0]),
    ):
        for value in values:
            if not low <= value < high:
                o.refuse(f"{name} is {value}; accepted: {low}..{high - 1}")


# The first settings of a row with what they may be; the penalties after them only have to be finite.
_SETTINGS = (
    ("temperature", 0, math.inf),
    ("top-p", 0, 1),
    ("min-p", 0, 1),
    ("repetition penalty", 1e-6, math.inf),
)


def _sample_settings(o: _Operands) -> None:
    for row in o.given("settings").tolist():
        for (name, low, high), value in zip(_SETTINGS, row, strict=False):
            if not low <= value <= high:
                o.refuse(f"{name} is {value}; accepted: {low}..{high}")
        if not all(map(math.isfinite, row)):
            o.refuse("a setting is not finite")


def _carries(o: _Operands) -> None:
    """Digits that a user brings: the listed groups must exist, for the kernel reads the weights of each."""
    carries = o.given("carries")
    groups = carries.shape[1] - 4
    counts, listed = carries[:, 0], carries[:, 4:]
    wrong = (np.arange(groups) < counts[:, None]) & ((listed < 0) | (listed >= groups))
    bad = np.flatnonzero((counts < 0) | (counts > groups) | wrong.any(axis=1))
    if bad.size:
        o.refuse(f"row {bad[0]} of carries lists groups that a row of {groups} does not have")


def _weight(o: _Operands) -> None:
    weight = o.given("weight")
    # bfloat16 comes as its bits.
    finite = weight & 0x7F80 != 0x7F80 if weight.dtype == np.uint16 else np.isfinite(weight)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        o.refuse(f"row {row} of the weight holds NaN or infinity", "OCTAVO_MODEL_FILE_INVALID")


# By op: each check and the operands whose data it reads.
CHECKS: dict[str, tuple[tuple[_Check, tuple[str, ...]], ...]] = {
    "embed": ((_embed, ("tokens", "sampled")),),
    "rope": ((_positions, ("positions",)),),
    "append": ((_slots, ("slots",)),),
    "rope_append": ((_positions, ("positions",)), (_slots, ("slots",))),
    "attention": ((_attention, ("pages", "lengths", "starts")),),
    "linear_int8": ((_carries, ("carries",)),),
    "quantize_weight": ((_weight, ("weight",)),),
    "rows": ((_rows, ("index",)),),
    "score": ((_targets, ("targets",)),),
    "pool": ((_pool, ("starts",)),),
    "sample": (
        (_sample_settings, ("settings",)),
        (_sample_counters, ("counters",)),
        (_sample_history, ("historyStarts", "history", "sampled")),
        (_sample_bias, ("biasStarts", "biasIds")),
    ),
}


# Up to here a list is faster than numpy even when all caches are warm.
_SMALL = 64


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """Smallest and largest of at least one element."""
    if array.size > _SMALL:
        return int(array.min()), int(array.max())
    values = array.ravel().tolist()
    return min(values), max(values)
