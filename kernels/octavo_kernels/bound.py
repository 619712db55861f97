"""What the executable of every backend begins with: a validated program, bound to the tensors that it names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import ErrorCode, KernelError
from .program.payload import NUMPY_DTYPES, PayloadLayout, check_sizes
from .program.spec import Columns, Handle, ProgramSpec, Sizes, resolve
from .tensor import Reserve, Tensor, Tensors
from .validate.step import DataChecks


class BoundProgram:
    """Keeps its tensors alive until `_let_go`. See backend.Executable."""

    def __init__(self, spec: ProgramSpec, tensors: Tensors, arena: Tensor | None, reserve: Reserve) -> None:
        self._spec, self._arena, self._reserve = spec, arena, reserve
        self._checks = DataChecks(spec)
        self._payload, self._reply = PayloadLayout(spec, spec.inputs), PayloadLayout(spec, spec.outputs)
        self._inputs = {value: number for number, value in enumerate(spec.inputs)}
        handles = {value.place.handle for value in spec.values if isinstance(value.place, Handle)}
        self._tensors = {handle: tensors[handle] for handle in handles}
        self._closed = False

    def _let_go(self) -> None:
        self._closed, self._arena, self._tensors = True, None, {}

    def _begin(self, sizes: Sizes, payload: memoryview) -> tuple[dict[str, int], list[np.ndarray]]:
        """A step's sizes, all of SIZES, and the arrays that it brings. Raises KernelError."""
        if self._closed:
            raise KernelError(ErrorCode.DISPOSED, "step: the program was closed")
        checked = check_sizes(self._spec, sizes)
        return checked, self._payload.split(checked, payload)

    def _array(self, index: int, sizes: Sizes, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """What a data check looks at: an array that the step brings, or a tensor."""
        if index in self._inputs:
            return arrays[self._inputs[index]]
        value = self._spec.values[index]
        shape = resolve(value.shape, sizes)
        if isinstance(value.place, Columns):
            whole = self._array(value.place.of, sizes, arrays)
            return whole[:, value.place.column : value.place.column + shape[1]]
        assert isinstance(value.place, Handle)
        return np.ndarray(shape, NUMPY_DTYPES[value.dtype], self._content(self._tensors[value.place.handle]))

    def _content(self, tensor: Tensor) -> np.ndarray:
        """The tensor's bytes in the machine's memory."""
        return tensor.memory
