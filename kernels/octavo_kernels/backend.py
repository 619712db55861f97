"""What a backend is: the seam between a worker and the implementations of the op table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .program.spec import ProgramSpec, Sizes
from .tensor import Reserve, Tensor, Tensors, unlimited

if TYPE_CHECKING:
    import torch

    from .cpu.group import Group
    from .workspace import Workspace


@dataclass(frozen=True)
class SourcePart:
    """What is taken of a tensor of `rows` x `columns` elements of `type` (protocol/source-types.ts) that lies at a byte
    range of a file."""

    file: str
    offset: int
    bytes: int
    type: str
    rows: int
    columns: int
    #: The tensor's, for errors.
    name: str = ""
    #: From the first one taken to the first one behind them; None: all.
    row_range: tuple[int, int] | None = None
    column_range: tuple[int, int] | None = None

    @property
    def taken_rows(self) -> range:
        return range(*(self.row_range or (0, self.rows)))

    @property
    def taken_columns(self) -> range:
        return range(*(self.column_range or (0, self.columns)))


@dataclass(frozen=True)
class Counters:
    """What a step did: elements quantised, of these with a carry, and the time it took. `nonfinite`: rows with NaN or
    infinity that were quantised, sampled, scored or pooled; every such row of a program comes to one of these."""

    quantized: int
    carries: int
    nonfinite: int
    nanoseconds: int


@dataclass(frozen=True)
class Ceiling:
    """The most a machine does per second: bytes read from memory, int8 and float32 operations (two per product)."""

    read_bytes: int
    int8_operations: int
    float32_operations: int


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes of a device with memory of its own: all; in use by anybody; of these, what this process's context takes."""

    total: int
    used: int
    context: int


class Executable(Protocol):
    """A defined program."""

    @property
    def launches(self) -> Sequence[int] | None:
        """Kernel launches of each op in a step at the limits, where that is known."""
        ...

    def step(
        self, sizes: Sizes, payload: memoryview, profile: np.ndarray | None = None, nonfinite: np.ndarray | None = None
    ) -> tuple[np.ndarray, Counters]:
        """Run once. `sizes`: T, S, B, J, H, D, Q, none above the program's limits; zero is a size.

        `payload`: the input arrays in the order of `ProgramSpec.inputs`, C-contiguous, each at the next multiple of
        64 bytes. `profile`: int64, one element per op of the program, takes the nanoseconds of each. `nonfinite`:
        likewise, takes 1 for each op whose results hold NaN or infinity (K and V in the pages and rows of digits too;
        of `sample` only the ids), else 0.
        Returns the outputs laid out likewise, as one uint8 array, and the counters.
        Raises KernelError before any effect; only OCTAVO_GROUP_BROKEN may come later: what the step writes to then has
        anything in it.
        """
        ...

    def close(self) -> None:
        """Release what the program holds; tensors are not touched. With the last program goes the workspace."""


class Backend(Protocol):
    """A device's implementation of the op table. Not thread-safe: one caller at a time."""

    name: str
    isa: str
    """The instruction set in use, and in `isas` those that this machine could use, best last."""
    isas: list[str]
    threads: int
    model: str
    """What the machine calls its processor."""

    @property
    def workspace(self) -> Workspace:
        """Scratch memory of all programs."""
        ...

    def allocate(self, dtype: str, layout: str, shape: Sequence[int]) -> Tensor:
        """Zeroed memory. Raises KernelError OCTAVO_OUT_OF_MEMORY."""
        ...

    def load(self, form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
        """Read what is taken of the parts, stack it by rows and write `target` [..., columns].

        form "int8": quantise whole rows of the file (`quantize_weight`) into float32 `scale` [rows] and codes, of which
        those of the columns taken are kept: slices side by side are the whole. "float": convert to `target`'s dtype and
        layout. A vector takes the elements of its parts one after the other: whole rows, or columns of one row.
        Numbers that `target` cannot hold (NaN, infinity, what its dtype rounds to infinity) are refused.
        Raises KernelError OCTAVO_FILE_NOT_READABLE, OCTAVO_MODEL_FILE_INVALID, OCTAVO_SHAPE_MISMATCH.
        """

    def read(self, tensor: Tensor) -> np.ndarray:
        """The tensor's bytes, row-major whatever its layout, without padding; a copy (uint8)."""
        ...

    def write(self, tensor: Tensor, offset: int, size: int, fill: Callable[[np.ndarray], None]) -> None:
        """Replace `size` bytes of the tensor's memory from byte `offset` on by what `fill` puts into the array (uint8,
        `size` long) that it is called with. Where the backend can, that array is the memory itself: no copy."""

    def read_range(self, tensor: Tensor, offset: int, size: int) -> np.ndarray:
        """Bytes of the tensor's memory (uint8); may be the memory itself: use it before the next call."""
        ...

    def expose(self, tensor: Tensor) -> np.ndarray | torch.Tensor:
        """The tensor's memory itself, uint8, for others to read and write before the next call to this backend."""
        ...

    def memory(self) -> DeviceMemory | None:
        """Of a device that has memory of its own; None where tensors are the machine's memory."""
        ...

    def define(
        self,
        spec: ProgramSpec,
        tensors: Tensors,
        arena: Tensor | None,
        reserve: Reserve = unlimited,
        workspace: int = 0,
        group: Group | None = None,
    ) -> Executable:
        """Validate a program whole (`validate/`) and prepare it. Raises KernelError before any effect.

        `group`: of the ranks that run it together, closed after it. A program without one gathers nothing.

        The workspace then has what its steps need, and at least `workspace` bytes. `reserve` is asked before it grows,
        and before large replies of its steps are made.
        """
        ...

    def measure(self) -> Ceiling:
        """What this machine does at best with all threads; takes about a second. Raises KernelError where unknown."""
        ...
