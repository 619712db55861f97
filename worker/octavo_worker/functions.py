"""`call`: PyTorch functions of the user on handles. Only those that the pool was started with, and torch only then."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from octavo_kernels import Backend, ErrorCode, KernelError, Tensor
from octavo_kernels.errors import without_torch

from .generated.messages import BooleanCallOption, CallOption, IntegerCallOption, NumberCallOption, StringCallOption
from .results import tensors_of

if TYPE_CHECKING:
    import torch


# Characters of a user's error that go into a message.
_MOST_TEXT = 2000


class Functions:
    """The allow-list: "module:function", or "module" for all public functions that the module itself defines."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._allowed: frozenset[str] = frozenset()
        self._resolved: dict[str, Callable[..., Any]] = {}
        self._torch: Any = None

    def allow(self, names: Sequence[str]) -> None:
        """Once, before the first call. Imports the modules: what is missing is an error now, not at the first call.

        Raises KernelError OCTAVO_BAD_ARGUMENT, or OCTAVO_MISSING_DEPENDENCY for a module that misses another.
        """
        self._allowed = frozenset(names)
        for name in names:
            if ":" in name:
                self._resolve(name)
            else:
                _import(name)

    def call(self, name: str, tensors: Sequence[Tensor], options: Sequence[CallOption]) -> list[torch.Tensor]:
        """The function's results as contiguous tensors. The arguments share memory with `tensors`: writing to one
        in place changes the handle."""
        function = self._resolve(name)
        torch = self._torch = self._torch or _torch(self._backend.threads)
        arguments = [as_torch(self._backend, tensor, torch) for tensor in tensors]
        keywords = {option.name: _option(option) for option in options}
        try:
            with torch.inference_mode():
                return tensors_of(name, function(*arguments, **keywords), torch)
        except (KernelError, MemoryError):
            raise
        except BaseException as error:  # Also sys.exit: what a function does must not end the worker.
            raise _failed(name, error) from error

    def _resolve(self, name: str) -> Callable[..., Any]:
        if name in self._resolved:
            return self._resolved[name]
        module_name, separator, attribute = name.partition(":")
        whole_module = module_name in self._allowed
        if not separator or not (name in self._allowed or whole_module):
            allowed = ", ".join(sorted(self._allowed)) or "none"
            text = f"{name} is not among the functions the pool was started with (ops: {allowed})"
            raise KernelError(ErrorCode.FUNCTION_NOT_ALLOWED, text)
        module = _import(module_name)
        function = getattr(module, attribute, None)
        own = getattr(function, "__module__", None) == module_name and not attribute.startswith("_")
        if not callable(function) or (name not in self._allowed and not own):
            raise KernelError(ErrorCode.FUNCTION_NOT_ALLOWED, f"the module {module_name} has no function {attribute}")
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
        code = ErrorCode.MISSING_DEPENDENCY if missing else ErrorCode.BAD_ARGUMENT
        text = f"the module {name} cannot be imported ({error}); it is looked for in PYTHONPATH and in {os.getcwd()}"
        raise KernelError(code, text) from error
    except BaseException as error:  # It runs code of the user, down to sys.exit.
        text = f"the module {name} cannot be imported: {_described(error)}"
        raise KernelError(ErrorCode.BAD_ARGUMENT, text) from error


def _failed(name: str, error: BaseException) -> KernelError:
    hint = "" if isinstance(error, Exception) else " (a function ends by returning; the worker goes on)"
    return KernelError(ErrorCode.WORKER_FAILED, f"{name} raised {_described(error)}{hint}\n{_where(error)}")


def _described(error: BaseException) -> str:
    """The error's name and text; a text that cannot be had is left out."""
    try:
        text = str(error)
    except BaseException:  # A user's class.
        text = ""
    if len(text) > _MOST_TEXT:
        text = f"{text[:_MOST_TEXT]}... ({len(text) - _MOST_TEXT} more characters)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _where(error: BaseException) -> str:
    """The last places of the error, innermost last, without what came before it in `except` blocks of ours."""
    return "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)[-4:])).rstrip()


def _torch(threads: int) -> Any:
    try:
        import torch
    except ImportError as error:
        raise without_torch("device.call needs torch", error) from error
    torch.set_num_threads(threads)
    return torch


def as_torch(backend: Backend, tensor: Tensor, torch: Any) -> torch.Tensor:
    """A torch tensor over the same memory, on a GPU where that memory is."""
    if tensor.layout != "plain":
        raise KernelError(ErrorCode.DTYPE_MISMATCH, "a packed weight is not a torch tensor; read it, or pass it plain")
    dtype = getattr(torch, tensor.dtype)
    memory: Any = backend.expose(tensor)
    content: torch.Tensor = memory if isinstance(memory, torch.Tensor) else torch.from_numpy(memory)
    return content[: prod(tensor.shape) * dtype.itemsize].view(dtype).reshape(tensor.shape)


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
