"""How each op of the table is planned: op name -> function(context, **operands, **attributes) -> launches."""

from __future__ import annotations

from collections.abc import Callable

from ...generated.ops import OPS
from ..launch import Launch
from . import (
    activation,
    elementwise,
    linear_float,
    linear_published,
    linear_scheme,
    norm,
    observe_outliers,
    pool,
    rope,
    score,
)
from .attention import plan as attention
from .linear_int8 import dequantize
from .linear_int8 import plan as linear_int8
from .quantize import plan as quantize
from .quantize import statistics, weight
from .sample import plan as sample

Plan = Callable[..., list[Launch]]

#: In them each plan has the name of its op.
_MODULES = (
    *(activation, attention, dequantize, elementwise, linear_float, linear_int8, linear_published, linear_scheme),
    *(norm, observe_outliers, pool, quantize, rope, sample, score, statistics, weight),
)

PLANS: dict[str, Plan] = {op: getattr(module, op) for module in _MODULES for op in OPS if hasattr(module, op)}
