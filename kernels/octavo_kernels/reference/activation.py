"""activate and glu: silu, gelu (exact and by tanh), relu."""

from __future__ import annotations

import math

import torch

from .numbers import exp, f32


def activation_of(x: torch.Tensor, activation: str) -> torch.Tensor:
    """float32 in and out; silu by its definition, the others correctly rounded up to double rounding."""
    if activation == "silu":
        return x / (f32(1) + exp(-x))
    wide = x.double()
    if activation == "gelu":
        return (0.5 * wide * torch.special.erfc(-wide / math.sqrt(2))).float()
    if activation == "gelu_tanh":
        inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
        return (0.5 * wide * (1 + torch.tanh(inner))).float()
    return torch.relu(x)


def activate(*, x: torch.Tensor, activation: str) -> dict[str, torch.Tensor]:
    """Elementwise."""
    return {"y": activation_of(x, activation)}


def glu(*, gate: torch.Tensor, up: torch.Tensor, activation: str) -> dict[str, torch.Tensor]:
    """activation(gate) * up."""
    return {"y": activation_of(gate, activation) * up}
