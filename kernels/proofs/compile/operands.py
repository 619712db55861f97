"""Operands without memory for a case, with the shapes that the op table gives them."""

from __future__ import annotations

import math

import torch
from octavo_kernels.generated.ops import OPS
from octavo_kernels.generated.ops import Operand as Spec
from octavo_kernels.program.shapes import evaluate, pad64
from octavo_kernels.program.spec import Dimension
from octavo_kernels.reference.views import TORCH_DTYPES
from octavo_kernels.triton.launch import Operand

from .cases import Case


def operands(case: Case) -> dict[str, Operand]:
    """By name: inputs that the case gives, and all outputs."""
    spec = OPS[case.op]
    names = {
        **{name: one for name, one in spec.inputs.items() if not one.optional or name in case.given},
        **spec.outputs,
    }
    return {name: _operand(case, name, one) for name, one in names.items()}


def _operand(case: Case, name: str, spec: Spec) -> Operand:
    symbols: dict[str, Dimension] = dict(case.sizes)
    shape = [int(evaluate(expression, symbols, case.attributes)) for expression in spec.shape]
    dtype = TORCH_DTYPES[case.dtypes.get(name, spec.dtypes[0])]
    width, first = case.parts.get(name, (shape[-1], 0))
    if spec.packed and dtype == torch.int8:
        width = pad64(width)
    wide = torch.empty(*shape[:-1], width, dtype=dtype, device="meta")
    return Operand(wide[..., first : first + shape[-1]], torch.empty(1, dtype=torch.int32, device="meta"))


def byte_count(tensor: torch.Tensor) -> int:
    """Bytes of its elements, without what lies between them."""
    return math.prod(tensor.shape) * tensor.dtype.itemsize
