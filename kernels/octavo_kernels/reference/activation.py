"""activate and glu: silu, gelu (exact and by tanh), relu."""

from __future__ import annotations

import torch

from .functions import erfc_of_positive, tanh
from .numbers import exp, f32, fma

_SQRT_HALF = 0.70710678118654752
_SQRT_2_OVER_PI = 0.79788456080286536


def activation_of(x: torch.Tensor, activation: str) -> torch.Tensor:
    """float32 in and out; each operation rounded once, so that every backend has these bits."""
    if activation == "silu":
        return x / (f32(1) + exp(-x))
    if activation == "gelu":
        # x times the normal distribution up to x; the tail on the left keeps its relative accuracy.
        tail = f32(0.5) * erfc_of_positive(x.abs() * f32(_SQRT_HALF))
        return x * torch.where(x < 0, tail, f32(1) - tail)
    if activation == "gelu_tanh":
        inner = f32(_SQRT_2_OVER_PI) * fma(x * x * x, f32(0.044715), x)
        return f32(0.5) * x * (f32(1) + tanh(inner))
    return torch.where(x < 0, x - x, x)  # minus infinity becomes NaN: as 0 it would pass for a number


def activate(*, x: torch.Tensor, activation: str) -> dict[str, torch.Tensor]:
    """Elementwise."""
    return {"y": activation_of(x, activation)}


def glu(*, gate: torch.Tensor, up: torch.Tensor, activation: str) -> dict[str, torch.Tensor]:
    """activation(gate) * up."""
    return {"y": activation_of(gate, activation) * up}
