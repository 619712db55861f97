"""The definition of each op of the table, by name: keyword operands and attributes -> outputs by name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..generated.ops import OPS
from . import activation, attention, elementwise, fused, judge, linear, norm, quantize, rope, sample, scheme

#: In them each definition has the name of its op.
_MODULES = (activation, attention, elementwise, fused, judge, linear, norm, quantize, rope, sample, scheme)

DEFINITIONS: dict[str, Callable[..., dict[str, torch.Tensor]]] = {
    op: getattr(module, op) for module in _MODULES for op in OPS if hasattr(module, op)
}
