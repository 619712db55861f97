"""`call`: PyTorch functions of the user on handles. Only those that the pool was started with, and torch only then."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from octavo_kernels import Backend, KernelError, Tensor

from .generated.messages import BooleanCallOption, CallOption, IntegerCallOption, NumberCallOption, StringCallOption

if TYPE_CHECKING:
    import torch


class Functions:
    """The allow-list: "module:function", or "module" for all public functions that the module itself defines."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._allowed: frozenset[str] = frozenset()
        self._resolved: dict[str, Callable[..., Any]] = {}

    def allow(self, names: Sequence[str]) -> None:
        self._allowed = frozenset(names)

    def call(self, name: str, tensors: Sequence[Tensor], options: Sequence[CallOption]) -> list[torch.Tensor]:
        """The function's results as contiguous tensors. The arguments share memory with `tensors`: writing to one
        in place changes the handle."""
        function = self._resolve(name)
        torch = _torch(self._backend.threads)
        arguments = [as_torch(self._backend, tensor, torch) for tensor in tensors]
        keywords = {option.name: _option(option) for option in options}
        with torch.inference_mode():
            result = function(*arguments, **keywords)
        return [_checked(name, item, torch) for item in _listed(result)]

    def _resolve(self, name: str) -> Callable[..., Any]:
        if name in self._resolved:
            return self._resolved[name]
        module_name, separator, attribute = name.partition(":")
        whole_module = module_name in self._allowed
        if not separator or not (name in self._allowed or whole_module):
            allowed = ", ".join(sorted(self._allowed)) or "none"
            text = f"{name} is not among the functions the pool was started with (ops: {allowed})"
            raise KernelError("OCTAVO_FUNCTION_NOT_ALLOWED", text)
        module = _import(module_name)
        function = getattr(module, attribute, None)
        own = getattr(function, "__module__", None) == module_name and not attribute.startswith("_")
        if not callable(function) or (name not in self._allowed and not own):
            raise KernelError("OCTAVO_FUNCTION_NOT_ALLOWED", f"the module {module_name} has no function {attribute}")
        self._resolved[name] = function
        return function


def _import(name: str) -> Any:
    # The orchestrator's folder, last: a file there must never stand in for a library.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = error.name not in (None, name, name.partition(".")[0])
        code = "OCTAVO_MISSING_DEPENDENCY" if missing else "OCTAVO_BAD_ARGUMENT"
        text = f"{name} cannot be imported ({error}); it is looked for in PYTHONPATH and in {os.getcwd()}"
        raise KernelError(code, text) from error


def _torch(threads: int) -> Any:
    first = "torch" not in sys.modules
    try:
        import torch
    except ImportError as error:
        text = f"device.call needs torch ({error}); run: {sys.executable} -m pip install torch"
        raise KernelError("OCTAVO_MISSING_DEPENDENCY", text) from error
    if first:
        torch.set_num_threads(threads)
    return torch


def as_torch(backend: Backend, tensor: Tensor, torch: Any) -> torch.Tensor:
    """A torch tensor over the same memory, on a GPU where that memory is."""
    if tensor.layout != "plain":
        raise KernelError("OCTAVO_DTYPE_MISMATCH", "a packed weight is not a torch tensor; read it, or pass it plain")
    dtype = getattr(torch, tensor.dtype)
    count = 1
    for size in tensor.shape:
        count *= size
    memory: Any = backend.expose(tensor)
    content: torch.Tensor = memory if isinstance(memory, torch.Tensor) else torch.from_numpy(memory)
    return content[: count * dtype.itemsize].view(dtype).reshape(tensor.shape)


def _option(option: CallOption) -> object:
    if isinstance(option, StringCallOption):
        return option.string
    if isinstance(option, NumberCallOption):
        return option.number
    if isinstance(option, IntegerCallOption):
        return option.integer
    if isinstance(option, BooleanCallOption):
        return option.boolean
    return list(option.numbers)


def _listed(result: object) -> list[object]:
    if result is None:
        return []
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _checked(name: str, item: Any, torch: Any) -> torch.Tensor:
    if not isinstance(item, torch.Tensor):
        raise KernelError("OCTAVO_WORKER_FAILED", f"{name} returned a {type(item).__name__}; it must return tensors")
    return item.detach().contiguous()
