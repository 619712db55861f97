"""Triton's interpreter, mended where it computes other bits than a GPU.

As it comes (triton 3.6) it rounds fma twice, sums a float32 dot in BLAS's order where the GPU's is one fma chain in
ascending k (FMADotUtility.cpp; input_precision="ieee"), truncates float32 to bfloat16, multiplies integers slowly, and
wraps their sums. Programs of a grid run one after another; races are not modelled.

`enable` must be called before a module with kernels is imported: `triton.jit` decides there.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import triton.language as tl
from triton import knobs
from triton.runtime import interpreter
from triton.runtime.jit import JITFunction

from ..errors import ErrorCode, KernelError
from .launch import Launch

_PACKAGE = __name__.rpartition(".")[0]


def enable() -> None:
    """Make every kernel that is imported from now on an interpreted one. Not to be undone in this process."""
    if not enabled():
        compiled = [name for name in sys.modules if name.startswith(f"{_PACKAGE}.ops")]
        if compiled:
            text = f"{compiled[0]} was imported before the interpreter was enabled; use another process"
            raise KernelError(ErrorCode.BAD_ARGUMENT, text)
        # For this process alone: by itself triton would tell the processes that this one starts, too.
        propagated, knobs.propagate_env = knobs.propagate_env, False
        knobs.runtime.interpret = True
        knobs.propagate_env = propagated
        _interpret_standard()
    builder: Any = interpreter.InterpreterBuilder
    builder.create_fma = _create_fma
    builder.create_dot = _create_dot
    builder.cast_impl = _cast
    function: Any = interpreter.InterpretedFunction
    function.__call__ = _call
    # It computes every sum of integers again, in 64 bits, and then asserts nothing, debug being off.
    unchecked: Any = dataclasses.replace(interpreter.interpreter_builder.options, sanitize_overflow=False)
    interpreter.interpreter_builder.options = unchecked


def _interpret_standard() -> None:
    """tl.sum, tl.zeros, tl.sort and the like are kernels' functions too, compiled ones since triton was imported."""
    for name, function in list(vars(tl.standard).items()):
        if isinstance(function, JITFunction):
            interpreted = interpreter.InterpretedFunction(function.fn)
            for module in (tl.standard, tl):
                if getattr(module, name, None) is function:
                    setattr(module, name, interpreted)
    tl.sort = _sort


def _sort(x: Any) -> Any:
    """tl.sort of integers by numpy: its network of exclusive ors takes seconds here, and gives the same."""
    return tl.tensor(interpreter.TensorHandle(np.sort(x.handle.data), x.dtype.scalar), x.type)


def enabled() -> bool:
    """Whether kernels of this process run in the interpreter."""
    return bool(knobs.runtime.interpret)


def run(launch: Launch) -> None:
    """Every program of the grid, in order."""
    if 0 in launch.grid:
        return
    kernel = launch.kernel
    arguments = {name: _argument(value) for name, value in launch.arguments.items()}
    _Grid(kernel.rewrite(), kernel.arg_names, launch.grid)(**arguments, **launch.constants)


def _argument(value: Any) -> Any:
    """A float as a GPU gets it: left as it is, one that is no normal float32 would make float64 of what it meets."""
    if not isinstance(value, float):
        return value
    return tl.tensor(interpreter.TensorHandle(np.array([value], dtype=np.float32), tl.float32), tl.float32)


class _Grid(interpreter.GridExecutor):
    """On CPU tensors: nothing to copy there and back (the original copies whole storages, weights too)."""

    def _init_args_hst(self, args_dev: Any, kwargs: Any) -> Any:
        return args_dev, kwargs

    def _restore_args_dev(self, args_dev: Any, args_hst: Any, kwargs: Any, kwargs_hst: Any) -> None:
        pass


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c in float32, rounded once."""
    with np.errstate(all="ignore"):
        product, addend = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
        total = product + addend
        return _rounded_odd(product, addend, total) if _may_round_twice(total) else total.astype(np.float32)


def fma_chain(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """c + a @ b in float32 as one fma after the other, k ascending: [..., M, K], [..., K, N], [..., M, N].

    All products are exact in float64, so that each k costs an addition and a rounding; whether any of these rounded
    twice is looked at afterwards, and all are done again carefully if so.
    """
    left, right = np.moveaxis(a, -1, 0).astype(np.float64), np.moveaxis(b, -2, 0).astype(np.float64)
    step = max(1, _CHAIN_ELEMENTS // max(1, c.size))
    with np.errstate(all="ignore"):
        for start in range(0, left.shape[0], step):
            products = left[start : start + step, ..., :, None] * right[start : start + step, ..., None, :]
            totals, after = np.empty_like(products), c
            for product, total in zip(products, totals, strict=True):
                np.add(product, after, out=total)
                after = total.astype(np.float32)
            if _may_round_twice(totals):
                after = c
                for product in products:
                    addend = after.astype(np.float64)
                    after = _rounded_odd(product, addend, product + addend)
            c = after
    return c


# float64 numbers held at once: 32 MiB.
_CHAIN_ELEMENTS = 4 << 20
# Of a float64: the bits that float32 does not have, their middle, all but the sign, and 2^-126 as bits.
_BELOW, _MIDDLE, _MAGNITUDE, _SUBNORMAL = (1 << 29) - 1, 1 << 28, (1 << 63) - 1, (1023 - 126) << 52


def _may_round_twice(total: np.ndarray) -> bool:
    """Whether rounding an (already rounded) float64 to float32 may differ from rounding once, for any element: in the
    middle between two float32, and where float32 is subnormal and its middles lie elsewhere."""
    magnitude = np.ascontiguousarray(total).view(np.uint64) & np.uint64(_MAGNITUDE)
    middle = (magnitude & np.uint64(_BELOW)) == np.uint64(_MIDDLE)
    return bool(middle.any() or (magnitude - np.uint64(1) < np.uint64(_SUBNORMAL - 1)).any())


def _rounded_odd(product: np.ndarray, addend: np.ndarray, total: np.ndarray) -> np.ndarray:
    """product + addend to float32, rounded once: the float64 sum is made odd where it is inexact, which no later
    rounding confuses. See reference/numbers.py, which has the same in torch."""
    part = total - product
    error = (product - (total - part)) + (addend - part)
    bits = np.ascontiguousarray(total).view(np.int64)
    away = np.where((error > 0) == (total > 0), 1, -1)
    inexact = (error > 0) | (error < 0)
    odd = np.where(inexact & (bits & 1 == 0), bits + away, bits)
    return odd.view(np.float64).reshape(total.shape).astype(np.float32)


_called: set[Any] = set()
_patch_language: Any = interpreter._patch_lang


def _call(self: Any, *args: Any, **kwargs: Any) -> Any:
    """A kernel's call of another function. As it comes, each call patches the language anew (a quarter of the time of
    an attention kernel); the launch has patched what kernels import, and what else a function imports stays patched."""
    if self.fn not in _called:
        _patch_language(self.fn)
        _called.add(self.fn)
    return self.rewrite()(*args, **kwargs)


def _create_fma(self: Any, x: Any, y: Any, z: Any) -> Any:
    if x.data.dtype == np.float32:
        return interpreter.TensorHandle(fma(x.data, y.data, z.data), z.dtype.scalar)
    return interpreter.TensorHandle(x.data * y.data + z.data, z.dtype.scalar)


def _create_dot(self: Any, a: Any, b: Any, d: Any, input_precision: Any, max_num_imprecise_acc: Any) -> Any:
    if d.data.dtype == np.int32:
        # Exact in float64 (|sum| < 2^53), where BLAS is fast. Saturates as mma does, where wgmma wraps: no kernel
        # may come to that.
        total = np.matmul(a.data.astype(np.float64), b.data.astype(np.float64)) + d.data
        data = total.clip(-(2**31), 2**31 - 1).astype(np.int32)
    elif a.data.dtype == np.float32:
        data = fma_chain(a.data, b.data, d.data)
    else:
        # 16-bit tensor-core sums have no order that hardware promises; products are exact in float32.
        left, right = (_wide(x) for x in (a, b))
        data = np.matmul(left, right, dtype=d.data.dtype) + d.data
    return interpreter.TensorHandle(data, d.dtype.scalar)


def _wide(x: Any) -> np.ndarray:
    return _from_bfloat16(x.data) if x.dtype.scalar == tl.bfloat16 else x.data.astype(np.float32)


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _to_bfloat16(x: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(x).view(np.uint32).reshape(x.shape)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), (bits >> 16) | 0x40, rounded).astype(np.uint16)


_original_cast = interpreter.InterpreterBuilder.cast_impl


def _cast(self: Any, src: Any, dst_type: Any) -> Any:
    source, target = src.dtype.scalar, dst_type.scalar
    if source == tl.float32 and target == tl.bfloat16:
        return interpreter.TensorHandle(_to_bfloat16(src.data), target)
    if source == tl.bfloat16 and target == tl.float32:
        return interpreter.TensorHandle(_from_bfloat16(src.data), target)
    with np.errstate(all="ignore"):
        return _original_cast(self, src, dst_type)
