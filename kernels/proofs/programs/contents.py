"""Random contents of a program's parameters, the same on every machine; shapes and dtypes are the program's."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from functools import partial

import numpy as np
from octavo_kernels.backend import Backend
from octavo_kernels.program.payload import NUMPY_DTYPES
from octavo_kernels.tensor import Tensor

from ..conformance.case import fill, load_rows
from ..conformance.floats import narrow
from .file import Parameter, Program

#: Tensors as a model's files have them, by name.
Files = Mapping[str, np.ndarray]


def files_of(whole: Program) -> Files:
    """What the files of a program hold that takes each tensor as it is."""
    files: dict[str, np.ndarray] = {}
    for one in whole.parameters:
        for part in one.source.get("parts", []):
            files[part["tensor"]] = _drawn(part["tensor"], one.shape)
    return files


def load(backend: Backend, program: Program, files: Files | None = None) -> dict[int, Tensor]:
    """Its tensors by handle, with contents; states are zero. Without `files` each parameter has contents of its own."""
    weight = _weight if files is None else partial(_taken, files)
    tensors = {
        number: backend.allocate(one.dtype, one.layout, one.shape) for number, one in enumerate(program.parameters, 1)
    }
    for number, one in enumerate(program.parameters, 1):
        match one.source["type"]:
            case "tensors" if one.dtype == "int8":
                load_rows(backend, weight(one), tensors[number], tensors[program.handle(one.source["scale"])])
            case "tensors":
                fill(backend, tensors[number], narrow(weight(one), one.dtype))
            case "constant":
                fill(backend, tensors[number], _constant(one))
    return tensors


def _constant(one: Parameter) -> np.ndarray:
    if "data" not in one.source:
        raise ValueError(f"{one.name} was exported without its data: such a program can be planned, not run")
    return np.frombuffer(base64.b64decode(one.source["data"]), NUMPY_DTYPES[one.dtype]).reshape(one.shape)


def _weight(one: Parameter) -> np.ndarray:
    return _drawn(one.name, one.shape)


def _taken(files: Files, one: Parameter) -> np.ndarray:
    """The parts of tensors that a parameter is made of, one behind the other."""
    parts = []
    for part in one.source["parts"]:
        tensor = files[part["tensor"]]
        rows, columns = (slice(*part[along]) if along in part else slice(None) for along in ("rows", "columns"))
        parts.append(tensor[columns] if tensor.ndim == 1 else tensor[rows, columns])
    return np.ascontiguousarray(np.concatenate(parts).reshape(one.shape))


def _drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 that keeps the size of its inputs; norms are near 1 with one channel far above, a systematic outlier."""
    x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if "norm" in name:
        x = 1 + np.float32(0.1) * x
        x[5] = 9
        return x
    if "embed" in name:
        return x
    return x * np.float32(0.5 if x.ndim == 1 else 1.5 / np.sqrt(shape[-1]))
