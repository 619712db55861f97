"""How each op of the table is planned: op name -> function(context, **operands, **attributes) -> launches."""

from __future__ import annotations

from collections.abc import Callable

from ..launch import Launch
from .activation import activate, glu
from .attention import attention
from .elementwise import add, cast, embed, rows
from .linear_float import linear_float
from .linear_int8 import dequantize, linear_int8, multiply_int8
from .linear_published import linear_published
from .linear_scheme import linear_scheme
from .norm import norm
from .observe_outliers import observe_outliers
from .pool import pool
from .quantize import (
    add_norm_quantize,
    glu_quantize,
    norm_quantize,
    quantize,
    quantize_digits,
    quantize_weight,
    row_inliers,
    row_statistics,
)
from .rope import append, rope, rope_append
from .sample import sample
from .score import score

Plan = Callable[..., list[Launch]]

PLANS: dict[str, Plan] = {
    plan.__name__: plan
    for plan in (
        activate,
        add,
        add_norm_quantize,
        append,
        attention,
        cast,
        dequantize,
        embed,
        glu,
        glu_quantize,
        linear_float,
        linear_int8,
        linear_published,
        linear_scheme,
        multiply_int8,
        norm,
        norm_quantize,
        observe_outliers,
        pool,
        quantize,
        quantize_digits,
        quantize_weight,
        rope,
        rope_append,
        row_inliers,
        row_statistics,
        rows,
        sample,
        score,
    )
}
