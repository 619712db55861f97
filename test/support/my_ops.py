"""PyTorch functions that the tests of `device.call` put on the allow-list."""

from __future__ import annotations

import sys
import time

import numpy as np
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


def largest(x: torch.Tensor, count: int):
    """A named tuple: values and int64 indices."""
    return torch.topk(x, count)


def describe(x: torch.Tensor, note: str, loud: bool) -> torch.Tensor:
    """The arguments' types, as numbers."""
    return torch.tensor([len(note), int(loud), x.dim()], dtype=torch.int64)


def fails(x: torch.Tensor) -> torch.Tensor:
    raise ValueError("seven is not a shape")


def leaves(x: torch.Tensor, how: str) -> torch.Tensor:
    """Raises what is no Exception."""
    if how == "exit":
        sys.exit("enough")
    raise {"interrupt": KeyboardInterrupt, "generator": GeneratorExit}[how]


def says(x: torch.Tensor, text: str) -> None:
    print(text)


def dies(x: torch.Tensor) -> None:
    import os

    print("dying", flush=True)
    os._exit(9)


def returns(x: torch.Tensor, what: str):
    """A result of each kind."""
    kinds = {
        "bool": torch.tensor([True, False]),
        "uint8": torch.tensor([0, 255], dtype=torch.uint8),
        "int16": torch.tensor([-(2**15), 2**15 - 1], dtype=torch.int16),
        "uint16": torch.tensor([0, 2**16 - 1], dtype=torch.uint16),
        "float64": torch.tensor([0.5, float("nan"), float("-inf")], dtype=torch.float64),
        "inexact float64": torch.tensor([0.5, 0.1], dtype=torch.float64),
        "large float64": np.array([1e300]),
        "numpy float32": np.array([[1, 2], [3, 4]], np.float32)[:, ::-1],
        "numpy float64": np.array([0.25, 3.0]),
        "numpy bool": np.array([True, False]),
        "numpy uint8": np.arange(3, dtype=np.uint8),
        "numpy uint64": np.array([1, 2**63 - 1], np.uint64),
        "large uint64": np.array([2**63], np.uint64),
        "big-endian": np.array([1, -2], ">i4"),
        "numpy scalar": np.float32(0.1),
        "True": True,
        "7": 7,
        "0.5": 0.5,
        "0.1": 0.1,
        "2**64": 2**64,
        "text": "a",
        "dict": {"a": x},
        "complex": torch.tensor([1j]),
        "strings": np.array(["a"]),
        "sparse": torch.eye(2).to_sparse(),
        "a list in a list": [[x]],
        "masked": np.ma.masked_array([1.0, 2.0], [True, False]),
        "transposed": torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T,
    }
    return kinds[what]


def _hidden(x: torch.Tensor) -> torch.Tensor:
    return x


def sleep(x: torch.Tensor, seconds: float) -> None:
    """A function that takes its time, and says when it begins."""
    print("begun", flush=True)
    time.sleep(seconds)
