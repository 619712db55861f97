"""Checks of what only a step's data can tell: ids, slots, page tables, starts. Shared by all backends; numpy only.

`DataChecks(spec)` finds them once; `run` makes them before the step has any effect. The thirty attention ops of a
model look at the same arrays, so equal checks are made once.

The arrays of a decode step are short, and the caches are full of weights when they are checked: every numpy function
then costs 5 to 10 us before it does anything (162 us for all checks at one row, measured), so the checks of each step
work on lists. At many rows it is the other way round, and what a few calls of numpy find in order is not looked at
again; lists are then for the words of a refusal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain, pairwise

import numpy as np

from ..errors import ErrorCode, KernelError
from ..generated.ops import MAX_LOGPROBS, PAGE_SIZE
from ..program.spec import Operation, ProgramSpec, Sizes, resolve
from .sources import Written, written_by

# From this many elements on two calls of numpy cost less than a list.
_MANY = 256

Read = Callable[[int], np.ndarray]
_Check = Callable[["_Operands"], None]


class DataChecks:
    """The data-dependent checks of one validated program."""

    def __init__(self, spec: ProgramSpec) -> None:
        self._spec = spec
        self._step = _Step()
        self._checks: list[tuple[_Check, _Operands]] = []
        #: Values whose arrays the checks look at.
        self.values: set[int] = set()
        seen: set[tuple] = set()
        written = Written(spec)
        for index, operation in enumerate(spec.ops):
            for check, operands in CHECKS.get(operation.op, ()):
                # What the step itself computes cannot be checked before it: sources.py knows where that is safe.
                if any(written.by(operation.inputs[name]) for name in operands if name in operation.inputs):
                    continue
                bounds = tuple(spec.values[value].shape for value in operation.inputs.values())
                key = (check, tuple(operation.inputs.get(name) for name in operands), bounds)
                self.values.update(operation.inputs[name] for name in operands if name in operation.inputs)
                if key not in seen:
                    seen.add(key)
                    where = f"op {index} ({operation.op})"
                    self._checks.append((check, _Operands(spec, operation, where, self._step)))
            for name, value in written_by(operation).items():
                written.add(name, value)

    def run(self, sizes: Sizes, read: Read) -> None:
        """`read(value)`: the array of a value of the program, rows of any stride. Raises KernelError."""
        step = self._step
        step.sizes, step.read, step.lists = sizes, read, {}
        for check, operands in self._checks:
            check(operands)
        step.lists = {}  # here, where they are still in the cache, and not when the next step begins


class _Step:
    """Sizes and data of the step that is being checked. Several checks look at the same arrays."""

    def __init__(self) -> None:
        self.sizes: Sizes = {}
        self.read: Read = lambda value: np.zeros(0)
        self.lists: dict[int, list] = {}


class _Operands:
    """The operands of one op by name."""

    def __init__(self, spec: ProgramSpec, operation: Operation, where: str, step: _Step) -> None:
        self._spec, self._inputs, self._step = spec, operation.inputs, step
        self.where = where

    def has(self, name: str) -> bool:
        return name in self._inputs

    def array(self, name: str) -> np.ndarray:
        return self._step.read(self._inputs[name])

    def list(self, name: str) -> list:
        """Nested as its shape is."""
        value = self._inputs[name]
        found = self._step.lists.get(value)
        if found is None:
            found = self._step.lists[value] = self._step.read(value).tolist()
        return found

    def size(self, name: str, dimension: int) -> int:
        size = self._spec.values[self._inputs[name]].shape[dimension]
        return size if isinstance(size, int) else resolve((size,), self._step.sizes)[0]

    def refuse(self, text: str, code: ErrorCode = ErrorCode.BAD_ARGUMENT) -> None:
        raise KernelError(code, f"{self.where}: {text}")

    def within(self, name: str, low: int, high: int, code: ErrorCode = ErrorCode.BAD_ARGUMENT) -> None:
        """Every element of a vector in [low, high)."""
        given = self.list(name)
        if given and (min(given) < low or max(given) >= high):
            wrong = next(number for number in given if not low <= number < high)
            self.refuse(f"{name} has {wrong}; accepted: {low}..{high - 1}", code)

    def starts(self, name: str, total: int) -> list[int]:
        """An ascending array from 0 to `total`."""
        given = self.list(name)
        if not given or given[0] != 0 or given[-1] != total or any(a > b for a, b in pairwise(given)):
            self.refuse(f"{name} must ascend from 0 to {total}, got {given[:8]}{' ...' if len(given) > 8 else ''}")
        return given


def _token_ids(o: _Operands, ids: str, vocabulary: int) -> None:
    """Ids in the vocabulary; -1-j is row j of `sampled`, which must exist and itself hold an id of the vocabulary, or
    -1: drawn from logits that were not finite. That request ends, but its neighbours' step goes on."""
    held = o.list("sampled") if o.has("sampled") else []
    o.within(ids, -len(held), vocabulary, ErrorCode.TOKEN_OUT_OF_RANGE)
    for given in o.list(ids):
        if given < 0 and not -1 <= held[-1 - given] < vocabulary:
            text = f"{ids} means the sampled id {held[-1 - given]} of {vocabulary}"
            o.refuse(text, ErrorCode.TOKEN_OUT_OF_RANGE)


def _inside(name: str, of: str, axis: int, code: ErrorCode = ErrorCode.BAD_ARGUMENT) -> _Check:
    """Every element of `name` is a place of `of` along this axis."""
    return lambda o: o.within(name, 0, o.size(of, axis), code)


def _ascending(*pairs: tuple[str, str]) -> _Check:
    """(starts, rows): of each pair, the starts ascend to as many rows as there are."""

    def check(o: _Operands) -> None:
        for starts, rows in pairs:
            o.starts(starts, o.size(rows, 0))

    return check


def _embed(o: _Operands) -> None:
    _token_ids(o, "tokens", o.size("table", 0))


def _slots(o: _Operands) -> None:
    o.within("slots", 0, o.size("keys", 0) * PAGE_SIZE)
    slots = o.list("slots")
    if len(set(slots)) != len(slots):  # which token's K and V were kept would depend on threads
        twice = next(slot for at, slot in enumerate(slots) if slot in slots[:at])
        o.refuse(f"slots has {twice} twice; each token has a slot of its own")


def _attention(o: _Operands) -> None:
    starts = o.starts("starts", o.size("q", 0))
    lengths, room, total = o.list("lengths"), o.size("pages", 1) * PAGE_SIZE, o.size("keys", 0)
    # No page is named twice by one sequence: work is then bounded by memory that is there.
    most = min(room, total * PAGE_SIZE)
    for b, (length, (start, end)) in enumerate(zip(lengths, pairwise(starts), strict=True)):
        if length < end - start or length > most:
            text = f"sequence {b} has {length} keys, with {end - start} queries and pages for {room} keys"
            o.refuse(f"{text} of the {total * PAGE_SIZE} that there are")
    pages = o.array("pages")
    if pages.size > _MANY and pages.min() >= 0 and pages.max() < total:
        return
    # What a table holds beyond a sequence's keys may be anything.
    for length, own in zip(lengths, o.list("pages"), strict=True):
        for page in own[: -(-length // PAGE_SIZE)]:
            if not 0 <= page < total:
                o.refuse(f"pages names page {page} of {total}")


def _sample_answers(o: _Operands) -> None:
    given = o.array("counters")
    if given.size > _MANY:
        before, ends = given[:, 6], o.array("historyStarts")
        if before.min() >= 0 and (before <= ends[1:] - ends[:-1]).all():
            return
    starts = o.list("historyStarts")
    for s, counters in enumerate(o.list("counters")):
        length = starts[s + 1] - starts[s]
        if not 0 <= counters[6] <= length:
            o.refuse(f"row {s} has a history of {length} ids, {counters[6]} of them before the answer")


def _sample_history(o: _Operands) -> None:
    _token_ids(o, "history", o.size("logits", 1))


def _sample_counters(o: _Operands) -> None:
    rows, held = o.size("counters", 0), o.size("sampled", 0)
    if rows > held:
        o.refuse(f"{rows} rows are sampled, but `sampled` has {held}")
    limits = ((0, "top-k", 0, 2**31), (4, "logprobs", -1, MAX_LOGPROBS), (5, "mask", -1, o.size("masks", 0) - 1))
    given = o.array("counters")
    if given.size > _MANY and _in_order(given, limits):
        return
    _columns(o, list(zip(*o.list("counters"), strict=True)), limits)


def _sample_settings(o: _Operands) -> None:
    given = o.array("settings")
    if given.size > _MANY and _in_order(given, _SETTINGS) and np.isfinite(given).all():
        return
    columns = list(zip(*o.list("settings"), strict=True))
    _columns(o, columns, _SETTINGS)
    if not all(map(math.isfinite, chain.from_iterable(columns))):
        o.refuse("a setting is not finite")


# Column, name, least and most. The penalties after these only have to be finite.
_SETTINGS = (
    (0, "temperature", 0, math.inf),
    (1, "top-p", 0, 1),
    (2, "min-p", 0, 1),
    (3, "repetition penalty", 1e-6, math.inf),
)


def _in_order(given: np.ndarray, limits: tuple[tuple[int, str, float, float], ...]) -> bool:
    """Whether `_columns` would find nothing: NaN is no least and no largest of a column, and in no order."""
    least, most = given.min(axis=0).tolist(), given.max(axis=0).tolist()
    return all(low <= least[column] and most[column] <= high for column, _, low, high in limits)


def _columns(o: _Operands, columns: list[tuple], limits: tuple[tuple[int, str, float, float], ...]) -> None:
    """Every element of these columns, if there are rows, between its limits; NaN is not."""
    for column, name, low, high in limits if columns else ():
        for value in columns[column]:
            if not low <= value <= high:
                o.refuse(f"{name} is {value}; accepted: {low}..{high}")


def _carries(o: _Operands) -> None:
    """Digits that a user brings: the listed groups must exist, for the kernel reads the weights of each."""
    carries = o.array("carries")
    groups = -(-o.size("weight", 1) // 4)
    counts, listed = carries[:, 0], carries[:, 4 : 4 + groups]
    wrong = (np.arange(groups) < counts[:, None]) & ((listed < 0) | (listed >= groups))
    bad = np.flatnonzero((counts < 0) | (counts > groups) | wrong.any(axis=1))
    if bad.size:
        o.refuse(f"row {bad[0]} of carries lists groups that a row of {groups} does not have")


def _digits(o: _Operands) -> None:
    """Digits that a user brings belong together. Kernels take sums and groups from `carries`; those of other digits, or
    of another threshold, would give another product on each device."""
    low, high, carries = o.array("low"), o.array("high"), o.array("carries")
    columns = o.size("weight", 1)
    groups = -(-columns // 4)
    carried = high[:, : 4 * groups].reshape(-1, groups, 4).any(axis=2)
    listed = np.zeros_like(carried)
    row, entry = np.nonzero(np.arange(groups) < carries[:, :1])
    listed[row, carries[row, 4 + entry]] = True
    # As many as are listed: none twice.
    fits = (listed == carried).all(axis=1) & (carries[:, 0] == carried.sum(axis=1))
    for place, digits in ((1, low), (2, high)):
        fits &= (digits.sum(axis=1, dtype=np.int64) == carries[:, place]) & ~digits[:, columns:].any(axis=1)
    if not fits.all():
        bad = int(np.flatnonzero(~fits)[0])
        o.refuse(f"row {bad} of carries is not of these digits; low, high, carries and step come from one quantize")


def _weight(o: _Operands) -> None:
    weight = o.array("weight")
    # bfloat16 comes as its bits.
    finite = weight & 0x7F80 != 0x7F80 if weight.dtype == np.uint16 else np.isfinite(weight)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        o.refuse(f"row {row} of the weight holds NaN or infinity, which int8 codes cannot")


_positions = _inside("positions", "cos", 0)

# By op: each check and the operands whose data it reads.
CHECKS: dict[str, tuple[tuple[_Check, tuple[str, ...]], ...]] = {
    "embed": ((_embed, ("tokens", "sampled")),),
    "rope": ((_positions, ("positions",)),),
    "append": ((_slots, ("slots",)),),
    "rope_append": ((_positions, ("positions",)), (_slots, ("slots",))),
    "attention": ((_attention, ("pages", "lengths", "starts")),),
    **dict.fromkeys(
        ("linear_int8", "multiply_int8"), ((_carries, ("carries",)), (_digits, ("low", "high", "carries")))
    ),
    "quantize_weight": ((_weight, ("weight",)),),
    "rows": ((_inside("index", "x", 0), ("index",)),),
    "score": ((_inside("targets", "logits", 1, ErrorCode.TOKEN_OUT_OF_RANGE), ("targets",)),),
    "pool": ((_ascending(("starts", "x")), ("starts",)),),
    "sample": (
        (_sample_settings, ("settings",)),
        (_sample_counters, ("counters",)),
        (_ascending(("historyStarts", "history"), ("biasStarts", "biasIds")), ("historyStarts", "biasStarts")),
        (_sample_answers, ("historyStarts", "counters")),
        (_sample_history, ("history", "sampled")),
        (_inside("biasIds", "logits", 1, ErrorCode.TOKEN_OUT_OF_RANGE), ("biasIds",)),
    ),
}
