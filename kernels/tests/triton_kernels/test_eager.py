"""Ops on plain torch tensors: what users of PyTorch get without a program."""

from __future__ import annotations

import pytest
import torch
from octavo_kernels import KernelError
from octavo_kernels.triton.eager import run_op


def test_an_op_runs_on_torch_tensors():
    a, b = torch.arange(12.0).reshape(3, 4), torch.ones(3, 8)[:, 2:6]
    y = torch.full((3, 4), torch.nan)
    run_op("add", {"a": a, "b": b}, {"y": y})
    assert torch.equal(y, a + b)


def test_an_empty_call_is_no_error():
    y = torch.empty(0, 4)
    run_op("add", {"a": torch.empty(0, 4), "b": torch.empty(0, 4)}, {"y": y})


@pytest.mark.parametrize(
    ("name", "device", "attributes", "code"),
    [
        ("ad", "cpu", {}, "OCTAVO_UNKNOWN_OP"),
        ("add", "cpu", {"eps": 1.0}, "OCTAVO_BAD_ARGUMENT"),
        ("add", "meta", {}, "OCTAVO_WRONG_DEVICE"),
    ],
)
def test_what_cannot_run_is_refused_with_a_code(name: str, device: str, attributes: dict, code: str):
    x = torch.zeros(2, 4, device=device)
    with pytest.raises(KernelError) as error:
        run_op(name, {"a": x, "b": x}, {"y": torch.zeros_like(x)}, attributes)
    assert error.value.code == code
