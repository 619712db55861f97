"""The compiled library through ctypes: the structs and functions of src/runtime/abi.h. Calls release the GIL."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_double, c_int32, c_int64, c_void_p
from functools import cache

from ..errors import ErrorCode, KernelError
from ..generated.ops import DTYPES, LAYOUTS, OPS, SIZES
from . import build

ABI_VERSION = 6
MAX_INPUTS = max(len(op.inputs) for op in OPS.values())
MAX_OUTPUTS = max(len(op.outputs) for op in OPS.values())
MAX_ATTRIBUTES = max(len(op.attributes) for op in OPS.values())

PLACE_MEMORY, PLACE_INPUT, PLACE_COLUMNS, PLACE_ARENA = range(4)
DTYPE_CODES = {name: code for code, name in enumerate(DTYPES)}
LAYOUT_CODES = {name: code for code, name in enumerate(LAYOUTS)}


def fields(kind: type, *names: str) -> list[tuple[str, type]]:
    """Fields of a struct that are of one type."""
    return [(name, kind) for name in names]


class ValueStruct(Structure):
    """octavo_value"""

    _fields_ = [
        *fields(c_int32, "dtype", "layout", "rank", "place"),
        *(("shape", c_int64 * 4), ("memory", c_void_p), ("of", c_int64), ("column", c_int64)),
    ]


class OperationStruct(Structure):
    """octavo_operation"""

    _fields_ = [
        ("code", c_int32),
        ("inputs", c_int32 * MAX_INPUTS),
        ("outputs", c_int32 * MAX_OUTPUTS),
        ("attributes", c_double * MAX_ATTRIBUTES),
    ]


class SpecStruct(Structure):
    """octavo_program_spec"""

    _fields_ = [
        ("values", POINTER(ValueStruct)),
        ("operations", POINTER(OperationStruct)),
        *fields(POINTER(c_int32), "inputs", "outputs"),
        *fields(c_int32, "value_count", "operation_count", "input_count", "output_count"),
        ("limits", c_int64 * len(SIZES)),
    ]


class CountersStruct(Structure):
    """octavo_counters"""

    _fields_ = fields(c_int64, "quantized", "carries", "nonfinite", "nanoseconds")


class CeilingStruct(Structure):
    """octavo_ceiling"""

    _fields_ = fields(c_int64, "read_bytes", "int8_operations", "float32_operations")


_FUNCTIONS: dict[str, tuple[object, list[object]]] = {
    "octavo_abi_version": (c_int32, []),
    "octavo_isas": (c_char_p, []),
    "octavo_open": (c_void_p, [c_char_p, c_int32]),
    "octavo_close": (None, [c_void_p]),
    "octavo_borrow_threads": (None, [c_void_p, c_void_p, c_void_p]),
    "octavo_group_least_bytes": (c_int64, [c_int32, c_int32]),
    "octavo_group_open": (c_void_p, [c_void_p, c_int64, c_int32, c_int32, c_int32, c_int64]),
    "octavo_group_close": (None, [c_void_p]),
    "octavo_group_error": (c_char_p, [c_void_p]),
    "octavo_group_gather": (c_int32, [c_void_p, c_void_p, c_void_p, *[c_int64] * 5]),
    "octavo_group_send": (c_int32, [c_void_p, c_void_p, *[c_int64] * 3]),
    "octavo_group_receive": (c_int32, [c_void_p, c_void_p, *[c_int64] * 3]),
    "octavo_define": (c_void_p, [c_void_p, POINTER(SpecStruct), c_int64, c_void_p]),
    "octavo_release": (None, [c_void_p]),
    "octavo_step": (
        c_int32,
        [c_void_p, c_void_p, POINTER(c_int64), c_void_p, c_void_p, POINTER(CountersStruct), c_void_p, c_void_p],
    ),
    "octavo_load": (c_int32, [c_void_p, c_char_p, c_char_p, c_int64]),
    "octavo_unpack": (c_int32, [c_void_p, c_int32, c_int64, c_int64, c_void_p, c_char_p, c_int64]),
    "octavo_measure": (None, [c_void_p, POINTER(CeilingStruct)]),
}


@cache
def load_library() -> ctypes.CDLL:
    """The library, built first if need be. Raises KernelError OCTAVO_MISSING_DEPENDENCY."""
    path = build.library()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelError(ErrorCode.MISSING_DEPENDENCY, f"the CPU library does not load: {error}") from error
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    found = library.octavo_abi_version()
    if found != ABI_VERSION:
        text = f"{path.name} has ABI version {found}, these bindings {ABI_VERSION}: run `make setup`"
        raise KernelError(ErrorCode.MISSING_DEPENDENCY, text)
    return library


def available_isas() -> list[str]:
    """The instruction sets that this machine can run, slowest first."""
    return load_library().octavo_isas().decode().split()
