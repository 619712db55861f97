"""The ops of torch.library's namespace `octavo`: schema, shapes (fake kernels), gradients.

| op | |
|---|---|
| `octavo::quantize_weight(weight)` | codes int8 [N, K], scale float32 [N] |
| `octavo::quantize(x, decompose, absolute, relative)` | digits low, high, carries, and step float32 [...] |
| `octavo::linear_int8(low, high, carries, step, weight, scale, bias)` | float32 [..., N] |
| `octavo::int8_linear(x, weight, scale, bias, decompose, absolute, relative)` | both, in x's dtype |
| `octavo::linear_published(x, weight, scale, bias, threshold)` | as published, in x's dtype |

`x` is float32, float16 or bfloat16 [..., K] of any rank from 1 on; everything is computed from its float32. No shape
depends on data, so all compile with `fullgraph=True`.
"""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ..program.shapes import carry_words, pad64
from ..reference import quantize as definition
from .engines import engine_for
from .operands import check_digits, check_input, check_weight
from .threshold import Dial

_DEVICES = ("cpu", "cuda")


@torch.library.custom_op("octavo::quantize_weight", mutates_args=(), device_types=_DEVICES)
def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight [N, K] -> int8 codes [N, K], float32 scale [N]; a row with NaN or Inf has the scale NaN."""
    check_input(weight, 2)
    found = definition.quantize_weight(weight=weight)
    return found["codes"], found["scale"]


@quantize_weight.register_fake
def _(weight: Tensor) -> tuple[Tensor, Tensor]:
    check_input(weight, 2)
    return torch.empty_like(weight, dtype=torch.int8), weight.new_empty(weight.shape[0], dtype=torch.float32)


@torch.library.custom_op("octavo::quantize", mutates_args=(), device_types=_DEVICES)
def quantize(
    x: Tensor, decompose: str = "adaptive", absolute: float = 6.0, relative: float = 6.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows to base-255 digits and their step: docs/numerics.md."""
    check_input(x)
    if x.numel() == 0:
        return tuple(torch.zeros_like(part) for part in _digits_like(x))  # type: ignore[return-value]
    digits = engine_for(x.device).quantize(_rows(x), Dial(decompose, absolute, relative))
    return tuple(part.reshape((*x.shape[:-1], *part.shape[1:])) for part in digits)  # type: ignore[return-value]


@quantize.register_fake
def _(x, decompose="adaptive", absolute=6.0, relative=6.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    check_input(x)
    return _digits_like(x)


def _digits_like(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *rows, columns = x.shape
    low = x.new_empty(*rows, pad64(columns), dtype=torch.int8)
    carries = x.new_empty(*rows, carry_words(columns), dtype=torch.int32)
    return low, torch.empty_like(low), carries, x.new_empty(rows, dtype=torch.float32)


@torch.library.custom_op("octavo::linear_int8", mutates_args=(), device_types=_DEVICES)
def linear_int8(
    low: Tensor,
    high: Tensor,
    carries: Tensor,
    step: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Optional[Tensor] = None,  # noqa: UP045 (torch.library reads this annotation)
) -> Tensor:
    """What `quantize` gave times int8 codes: one exact integer sum, one dequantisation; float32."""
    check_weight(weight, scale, bias)
    check_digits(low, high, carries, step, weight)
    outputs = weight.shape[0]
    if step.numel() == 0 or weight.numel() == 0:
        return _without_products(low, scale, bias, torch.float32)
    flat = [part.reshape(-1, part.shape[-1]).contiguous() for part in (low, high, carries)]
    digits = (flat[0], flat[1], flat[2], step.reshape(-1).contiguous())
    y = engine_for(low.device).linear_int8(digits, *_held(weight, scale, bias))
    return y.reshape(*low.shape[:-1], outputs)


@linear_int8.register_fake
def _(low, high, carries, step, weight, scale, bias=None) -> Tensor:
    check_weight(weight, scale, bias)
    check_digits(low, high, carries, step, weight)
    return scale.new_empty(*low.shape[:-1], weight.shape[0])


@torch.library.custom_op("octavo::int8_linear", mutates_args=(), device_types=_DEVICES)
def int8_linear(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Optional[Tensor] = None,  # noqa: UP045
    decompose: str = "adaptive",
    absolute: float = 6.0,
    relative: float = 6.0,
) -> Tensor:
    """LLM.int8() in integers: a row's result depends on that row alone."""
    check_weight(weight, scale, bias)
    check_input(x, columns=weight.shape[1])
    if x.numel() == 0 or weight.numel() == 0:
        return _without_products(x, scale, bias, x.dtype)
    dial = Dial(decompose, absolute, relative)
    y = engine_for(x.device).int8_linear(_rows(x), *_held(weight, scale, bias), dial)
    return y.to(x.dtype).reshape(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op("octavo::linear_published", mutates_args=(), device_types=_DEVICES)
def linear_published(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Optional[Tensor] = None,  # noqa: UP045
    threshold: float = 6.0,
) -> Tensor:
    """LLM.int8() as the paper and bitsandbytes run it: outlier columns are the union over the rows of the call."""
    check_weight(weight, scale, bias)
    check_input(x, columns=weight.shape[1])
    if x.numel() == 0 or weight.numel() == 0:
        return _without_products(x, scale, bias, x.dtype)
    y = engine_for(x.device).linear_published(_rows(x), *_held(weight, scale, bias), threshold)
    return y.to(x.dtype).reshape(*x.shape[:-1], weight.shape[0])


def _linear_like(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, *attributes: float | str) -> Tensor:
    check_weight(weight, scale, bias)
    check_input(x, columns=weight.shape[1])
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@int8_linear.register_fake
def _(x, weight, scale, bias=None, decompose="adaptive", absolute=6.0, relative=6.0) -> Tensor:
    return _linear_like(x, weight, scale, bias)


@linear_published.register_fake
def _(x, weight, scale, bias=None, threshold=6.0) -> Tensor:
    return _linear_like(x, weight, scale, bias)


def _rows(x: Tensor) -> Tensor:
    """float32 [T, K], contiguous."""
    return x.detach().reshape(-1, x.shape[-1]).float().contiguous()


def _held(weight: Tensor, scale: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    bias = None if bias is None else bias.detach().float().contiguous()
    return weight.contiguous(), scale.contiguous(), bias


def _without_products(x: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """[..., N] where there is no row, or nothing to add up."""
    y = torch.zeros(*x.shape[:-1], scale.shape[0], dtype=dtype, device=x.device)
    return y if bias is None else y + bias.detach().to(dtype)


def _save(ctx, inputs, output) -> None:
    _, weight, scale, bias, *_ = inputs
    ctx.save_for_backward(weight, scale)
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.arguments = len(inputs)


def _gradient(ctx, grad: Tensor):
    """Of x through the dequantised weight, and of the bias, as in bitsandbytes: quantising x counts as identity."""
    weight, scale = ctx.saved_tensors
    grad_x = grad_bias = None
    if ctx.needs_input_grad[0]:
        dequantized = weight.to(grad.dtype) * (scale / 127).to(grad.dtype)[:, None]
        grad_x = grad @ dequantized
    # The dispatcher cuts arguments off that have their default values, so without a bias there may be no fourth.
    if ctx.bias_dtype is not None and ctx.needs_input_grad[3]:
        rows = grad.reshape(-1, grad.shape[-1])
        grad_bias = rows.sum(0, dtype=torch.float32).to(ctx.bias_dtype)
    return grad_x, None, None, grad_bias, *[None] * (ctx.arguments - 4)


int8_linear.register_autograd(_gradient, setup_context=_save)
linear_published.register_autograd(_gradient, setup_context=_save)
