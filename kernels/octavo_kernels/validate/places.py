"""Where a program's values live: handles that exist and fit, offsets inside the arena, columns inside their parent.

Every size is bounded here, so that what backends calculate from them (scratch space, strides, indices) fits their
types: sizes of a step int32, the bytes of a value `MOST_BYTES`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ErrorCode, KernelError
from ..generated.ops import SIZES
from ..program.spec import Arena, Columns, Handle, Input, ProgramSpec, Value, resolve
from ..tensor import ALIGNMENT, Tensors, nbytes

_SYMBOLS = (*SIZES, "S+1", "B+1")
# Tokens, rows and pages are counted in int32.
_MOST_ROWS = 2**31 - 2
#: 64 TiB, more than any device has; 2^17 times as much is still an int64.
MOST_BYTES = 1 << 46
_MOST_AXES = 4
# Columns of columns of ...: a program needs one or two.
_MOST_NESTED = 8


def check_places(spec: ProgramSpec, tensors: Tensors, arena_bytes: int) -> None:
    """Raise KernelError for the first value, program input or output that is not where it could be."""
    for size in SIZES:
        limit = spec.limits.get(size)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise _bad(f"limits: {size} is {limit!r}, must be a whole number")
        if limit > _MOST_ROWS:
            raise _bad(f"limits: {size} is {limit}; a step has at most {_MOST_ROWS}")
    nested: dict[int, int] = {}
    for index, value in enumerate(spec.values):
        where = f"value {index}"
        if len(value.shape) > _MOST_AXES:
            text = f"{where}: {len(value.shape)} dimensions; at most {_MOST_AXES}"
            raise KernelError(ErrorCode.SHAPE_MISMATCH, text)
        for size in value.shape:
            if size not in _SYMBOLS if isinstance(size, str) else size < 0:
                raise KernelError(ErrorCode.SHAPE_MISMATCH, f"{where}: {size!r} is not a size")
        shape = resolve(value.shape, spec.limits)
        _check_bytes(where, value, shape)
        bytes_at_limits = nbytes(value.dtype, value.layout, shape)
        match value.place:
            case Handle(handle):
                _check_handle(where, value, shape, handle, tensors)
            case Arena(offset):
                _check_arena(where, offset, bytes_at_limits, arena_bytes)
            case Input():
                if value.layout != "plain":
                    raise KernelError(ErrorCode.DTYPE_MISMATCH, f"{where}: an input of a step is plain, not packed")
                if index not in spec.inputs:
                    raise _bad(f"{where} is an input of the step but not among the program's inputs")
            case Columns(of):
                _check_columns(where, index, value, spec)
                nested[index] = nested.get(of, 0) + 1
                if nested[index] > _MOST_NESTED:
                    raise _bad(f"{where}: columns of columns, {nested[index]} deep; at most {_MOST_NESTED}")
    for number, value in enumerate(spec.inputs):
        if not 0 <= value < len(spec.values) or not isinstance(spec.values[value].place, Input):
            raise _bad(f"program input {number}: value {value} is not an input value")
    if len(set(spec.inputs)) != len(spec.inputs):
        raise _bad("a value stands twice among the program's inputs")
    for number, value in enumerate(spec.outputs):
        if not 0 <= value < len(spec.values):
            raise _bad(f"program output {number}: there is no value {value}")
        if spec.values[value].layout != "plain":
            raise KernelError(ErrorCode.DTYPE_MISMATCH, f"program output {number}: value {value} is packed")


def written_root(value: int, values: Sequence[Value]) -> int:
    """The value whose memory this one is: itself, or what it is columns of."""
    place = values[value].place
    while isinstance(place, Columns):
        value = place.of
        place = values[value].place
    return value


def _check_bytes(where: str, value: Value, shape: tuple[int, ...]) -> None:
    """A size of 0 counts as 1: what is calculated from the others must fit too."""
    size = nbytes(value.dtype, value.layout, tuple(max(1, size) for size in shape))
    if size > MOST_BYTES:
        text = (
            f"{where}: {list(value.shape)} is {list(shape)} at the program's limits, {size} bytes; at most {MOST_BYTES}"
        )
        raise KernelError(ErrorCode.OUT_OF_MEMORY, text)


def _check_handle(where: str, value: Value, shape: tuple[int, ...], handle: int, tensors: Tensors) -> None:
    tensor = tensors.get(handle)
    if tensor is None:
        raise KernelError(ErrorCode.DISPOSED, f"{where}: there is no tensor with the handle {handle}")
    if (tensor.dtype, tensor.layout) != (value.dtype, value.layout):
        raise KernelError(
            ErrorCode.DTYPE_MISMATCH,
            f"{where}: handle {handle} is {tensor.dtype} {tensor.layout}, declared {value.dtype} {value.layout}",
        )
    # A symbolic size stands for its limit: the tensor then holds the largest step.
    if tensor.shape != shape:
        raise KernelError(
            ErrorCode.SHAPE_MISMATCH,
            f"{where}: handle {handle} has the shape {list(tensor.shape)}, declared {list(shape)}",
        )


def _check_arena(where: str, offset: int, size: int, arena_bytes: int) -> None:
    if offset < 0 or offset % ALIGNMENT:
        raise _bad(f"{where}: the arena offset {offset} is not a multiple of {ALIGNMENT}")
    if offset + size > arena_bytes:
        raise _bad(f"{where}: bytes {offset}..{offset + size} of an arena of {arena_bytes} bytes")


def _check_columns(where: str, index: int, value: Value, spec: ProgramSpec) -> None:
    assert isinstance(value.place, Columns)
    of, column = value.place.of, value.place.column
    if not 0 <= of < index:
        raise _bad(f"{where}: columns of value {of}, which is not an earlier one")
    parent = spec.values[of]
    if (parent.dtype, parent.layout, value.layout) != (value.dtype, "plain", "plain"):
        raise KernelError(
            ErrorCode.DTYPE_MISMATCH, f"{where}: {value.dtype} columns of value {of}, {parent.dtype} {parent.layout}"
        )
    if len(value.shape) != 2 or len(parent.shape) != 2 or value.shape[0] != parent.shape[0]:
        raise KernelError(
            ErrorCode.SHAPE_MISMATCH, f"{where}: {list(value.shape)} cannot be columns of {list(parent.shape)}"
        )
    width, all_columns = value.shape[1], parent.shape[1]
    if not isinstance(width, int) or not isinstance(all_columns, int):
        raise KernelError(ErrorCode.SHAPE_MISMATCH, f"{where}: columns of a width that changes with the step")
    if column < 0 or column + width > all_columns:
        raise KernelError(
            ErrorCode.SHAPE_MISMATCH, f"{where}: columns {column}..{column + width} of {all_columns} (value {of})"
        )


def _bad(text: str) -> KernelError:
    return KernelError(ErrorCode.BAD_ARGUMENT, text)
