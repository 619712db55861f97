"""How each op of the table is planned: op name -> function(context, **operands, **attributes) -> launches."""

from __future__ import annotations

from collections.abc import Callable

from ..launch import Launch
from .activation import activate, glu
from .attention import attention
from .elementwise import add, cast, embed, rows
from .linear_float import linear_float
from .linear_int8 import linear_int8
from .rope import append, rope, rope_append

Plan = Callable[..., list[Launch]]

PLANS: dict[str, Plan] = {
    plan.__name__: plan
    for plan in (activate, add, append, cast, embed, glu, rope, rope_append, rows, attention, linear_float, linear_int8)
}
