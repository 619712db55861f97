"""PyTorch functions that the tests of `device.call` put on the allow-list."""

from __future__ import annotations

import time

import torch


def rotate(x: torch.Tensor, angle: float) -> torch.Tensor:
    """Turns pairs of columns by an angle."""
    even, odd = x[:, 0::2], x[:, 1::2]
    cos, sin = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=2).reshape(x.shape)


def fill(x: torch.Tensor, value: float = 1.0) -> None:
    """In place: shows that the tensor is the handle's memory."""
    x.fill_(value)


def split(x: torch.Tensor, sizes: list[float]) -> list[torch.Tensor]:
    return list(torch.split(x, [int(size) for size in sizes]))


def describe(x: torch.Tensor, note: str, loud: bool) -> torch.Tensor:
    """The arguments' types, as numbers."""
    return torch.tensor([len(note), int(loud), x.dim()], dtype=torch.int64)


def fails(x: torch.Tensor) -> torch.Tensor:
    raise ValueError("seven is not a shape")


def _hidden(x: torch.Tensor) -> torch.Tensor:
    return x


def sleep(x: torch.Tensor, seconds: float) -> None:
    """A function that takes its time."""
    time.sleep(seconds)
