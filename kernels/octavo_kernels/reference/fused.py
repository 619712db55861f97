"""The fused ops, as the compositions that they equal bit for bit. (rope_append stands with rope.)"""

from __future__ import annotations

import torch

from .activation import glu
from .elementwise import add
from .norm import norm
from .quantize import quantize

_NORM = ("kind", "eps", "unitOffset")
_QUANTIZE = ("decompose", "absolute", "relative")


def norm_quantize(
    *, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, **attributes
) -> dict[str, torch.Tensor]:
    """quantize(norm(x))."""
    y = norm(x=x, weight=weight, bias=bias, **_pick(attributes, _NORM))["y"]
    return quantize(x=y, **_pick(attributes, _QUANTIZE))


def add_norm_quantize(
    *, a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, **attributes
) -> dict[str, torch.Tensor]:
    """y = a + b; quantize(norm(y))."""
    y = add(a=a, b=b)["y"]
    return {"y": y, **norm_quantize(x=y, weight=weight, bias=bias, **attributes)}


def glu_quantize(*, gate: torch.Tensor, up: torch.Tensor, activation: str, **attributes) -> dict[str, torch.Tensor]:
    """quantize(glu(gate, up))."""
    return quantize(x=glu(gate=gate, up=up, activation=activation)["y"], **_pick(attributes, _QUANTIZE))


def _pick(attributes: dict, names: tuple[str, ...]) -> dict:
    return {name: attributes[name] for name in names}
