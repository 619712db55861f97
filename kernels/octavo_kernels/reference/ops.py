"""The definition of each op of the table, by name: keyword operands and attributes -> outputs by name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .activation import activate, glu
from .attention import attention
from .elementwise import add, cast, embed, rows
from .fused import add_norm_quantize, glu_quantize, norm_quantize
from .judge import observe_outliers, pool, score
from .linear import dequantize, linear_float, linear_int8, linear_published, multiply_int8
from .norm import norm
from .quantize import quantize, quantize_digits, quantize_weight, row_inliers, row_statistics
from .rope import append, rope, rope_append
from .sample import sample
from .scheme import linear_scheme

DEFINITIONS: dict[str, Callable[..., dict[str, torch.Tensor]]] = {
    definition.__name__: definition
    for definition in (
        embed,
        cast,
        norm,
        row_statistics,
        row_inliers,
        quantize_digits,
        quantize_weight,
        multiply_int8,
        dequantize,
        linear_published,
        linear_float,
        linear_scheme,
        rope,
        append,
        attention,
        glu,
        activate,
        add,
        rows,
        sample,
        pool,
        score,
        observe_outliers,
        quantize,
        linear_int8,
        norm_quantize,
        add_norm_quantize,
        glu_quantize,
        rope_append,
    )
}
