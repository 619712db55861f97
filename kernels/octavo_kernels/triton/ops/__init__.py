"""How each op of the table is planned: op name -> function(context, **operands, **attributes) -> launches."""

from __future__ import annotations

from collections.abc import Callable

from ..launch import Launch
from .attention import attention
from .elementwise import add
from .linear_float import linear_float
from .linear_int8 import linear_int8

Plan = Callable[..., list[Launch]]

PLANS: dict[str, Plan] = {plan.__name__: plan for plan in (add, attention, linear_float, linear_int8)}
