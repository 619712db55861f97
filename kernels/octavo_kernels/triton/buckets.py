"""The sizes that launches are planned for. A step runs at the smallest ones that hold it: few plans serve all steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ErrorCode, KernelError
from ..generated.ops import SIZES
from ..program.spec import Input, ProgramSpec, Sizes

#: Rows of a captured graph. Decode has few; beyond them launching takes less time than the kernels.
CAPTURED = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)
# Beyond the captured ones: multiples of 128 up to 1,024, then of 512. A kernel leaves padded rows at once.
_FINE, _FINE_TO, _COARSE = 128, 1024, 512
# Two thousand capacities: each is planned when a program is defined.
_ROWS_MOST = 1 << 20
# Pages of a table's row: 1,024 tokens, then four times more and so on. The table is copied to the device as wide as
# that, and attention plans work for as many pages.
_PAGES, _PAGES_GROW = 64, 4


@dataclass(frozen=True)
class Capacity:
    """Sizes that launches are planned for, all of SIZES."""

    sizes: tuple[int, ...]
    #: Whether steps of this capacity are worth capturing.
    captured: bool

    def named(self) -> dict[str, int]:
        return dict(zip(SIZES, self.sizes, strict=True))


class Buckets:
    """The capacities of one program."""

    def __init__(self, spec: ProgramSpec) -> None:
        self._limits = spec.limits
        most = max(spec.limits["T"], spec.limits["S"], spec.limits["B"])
        if most > _ROWS_MOST:
            text = f"limits: {most} rows; launches are planned for at most {_ROWS_MOST} rows in a step"
            raise KernelError(ErrorCode.BAD_ARGUMENT, text)
        # In memory that others filled, the rows of [B, J] are as wide as the step says, not as a capacity.
        self._exact_pages = any("J" in value.shape[1:] and not isinstance(value.place, Input) for value in spec.values)

    def fit(self, sizes: Sizes) -> Capacity:
        """The capacity that a step of these sizes runs at."""
        return self._capacity(_rows(max(sizes["T"], sizes["S"], sizes["B"])), self._pages(sizes["J"]))

    def all(self) -> Iterator[Capacity]:
        """Every capacity that `fit` can return, up to the limits; of exact numbers of pages only the largest."""
        limits = self._limits
        most = max(limits["T"], limits["S"], limits["B"])
        rows, seen = 0, set()
        while True:
            rows = _rows(rows + 1)
            pages = 0
            while True:
                pages = limits["J"] if self._exact_pages else self._pages(pages + 1)
                capacity = self._capacity(rows, pages)
                if capacity not in seen:
                    seen.add(capacity)
                    yield capacity
                if pages >= limits["J"]:
                    break
            if rows >= most:
                return

    def _capacity(self, rows: int, pages: int) -> Capacity:
        limits = self._limits
        sizes = {name: min(rows, limits[name]) for name in ("T", "S", "B")}
        # What sampling looks at lies at its limits: kernels find their way in it by starts.
        sizes.update(J=pages, H=limits["H"], D=limits["D"], Q=limits["Q"])
        return Capacity(tuple(sizes[name] for name in SIZES), rows <= CAPTURED[-1])

    def _pages(self, pages: int) -> int:
        if self._exact_pages:
            return pages
        room = _PAGES
        while room < pages:
            room *= _PAGES_GROW
        return min(room, self._limits["J"])


def _rows(rows: int) -> int:
    for bucket in CAPTURED:
        if rows <= bucket:
            return bucket
    step = _FINE if rows <= _FINE_TO else _COARSE
    return -(-rows // step) * step
