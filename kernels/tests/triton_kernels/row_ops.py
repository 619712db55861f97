"""Planning an op on tensors that are larger than the step, as a captured graph does, and running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from octavo_kernels.reference.ops import DEFINITIONS
from octavo_kernels.triton import interpreter
from octavo_kernels.triton.eager import EagerContext
from octavo_kernels.triton.launch import Operand
from proofs.conformance import cases
from proofs.conformance.case import Case

interpreter.enable()

TORCH = {name: getattr(torch, name) for name in ("float32", "float16", "bfloat16", "int32", "int16", "int8")}


def run(
    op: str,
    inputs: Mapping[str, torch.Tensor],
    outputs: Mapping[str, torch.Tensor],
    attributes: Mapping[str, Any],
    rows: Mapping[str, int] | None = None,
    processors: int = 132,
) -> list[int]:
    """Writes `outputs`. `rows`: of operands that have fewer real rows than their tensor. Returns the counters."""
    from octavo_kernels.triton.ops import PLANS

    context = EagerContext(torch.device("cpu"))
    context.processors = processors
    operands = {
        name: Operand(tensor, torch.tensor([(rows or {}).get(name, tensor.shape[0])], dtype=torch.int32))
        for name, tensor in {**inputs, **outputs}.items()
    }
    for launch in PLANS[op](context, **operands, **attributes):
        interpreter.run(launch)
    return context.counters.tolist()


def expected(op: str, inputs: Mapping[str, torch.Tensor], attributes: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What the definition says; inputs that it writes into are written."""
    return DEFINITIONS[op](**inputs, **attributes)


def like(results: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of these shapes, full of bytes that no kernel writes."""
    return {name: torch.full_like(x, 0).view(torch.uint8).fill_(0xA5).view(x.dtype) for name, x in results.items()}


def differing(results: Mapping[str, torch.Tensor], definition: Mapping[str, torch.Tensor]) -> list[str]:
    """Outputs that are not equal to the bit; NaN equals NaN, and what follows the groups of `carries` is anything."""
    return [name for name, want in definition.items() if not _equal(name, results[name], want)]


def _equal(name: str, got: torch.Tensor, want: torch.Tensor) -> bool:
    if name == "carries":
        listed = torch.arange(want.shape[1]) < 4 + want[:, :1]
        got, want = torch.where(listed, got, 0), torch.where(listed, want, 0)
    if got.dtype.is_floating_point:
        bits = torch.int32 if got.dtype == torch.float32 else torch.int16
        return bool(((got.view(bits) == want.view(bits)) | (got.isnan() & want.isnan())).all())
    return torch.equal(got, want)


def ordinary(op: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Inputs and attributes of an op's ordinary conformance case."""
    case: Case = cases(op)[0]
    inputs = {name: torch.from_numpy(array.copy()) for name, array in case.inputs.items()}
    typed = {name: x.view(TORCH[case.dtypes[name]]) for name, x in inputs.items()}
    return typed, dict(case.attributes)
