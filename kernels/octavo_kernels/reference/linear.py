"""linear_int8 and the ops that it fuses, linear_float and linear_published."""

from __future__ import annotations

import torch

from .numbers import f32, fma
from .quantize import BASE

# Outputs per pass of an fma chain: the temporaries of `fma` then stay in a core's cache.
_TILE = 1 << 15


def multiply_int8(
    *, low: torch.Tensor, high: torch.Tensor, carries: torch.Tensor, weight: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Digits [T, pad64(K)] times codes [N, K] -> sums int32 [T, N], exact.

    `carries` says where `high` is not zero; a definition has no use for it.
    """
    del carries
    columns = weight.shape[1]
    digits = BASE * high[:, :columns].double() + low[:, :columns].double()
    # |sum| < 2^31: float64 holds every partial sum exactly.
    return {"sums": (digits @ weight.double().T).to(torch.int32)}


def dequantize(
    *, sums: torch.Tensor, step: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """sums int32 [T, N] -> y [T, N]; step [T], scale and bias [N]."""
    total, column = sums.float() * step[:, None], (scale / f32(127))[None, :]
    return {"y": total * column if bias is None else fma(total, column, bias[None, :])}


def linear_int8(
    *, step: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None, **product: torch.Tensor
) -> dict[str, torch.Tensor]:
    """dequantize(multiply_int8(...)): one exact integer sum, one dequantisation."""
    return dequantize(**multiply_int8(**product), step=step, scale=scale, bias=bias)


def linear_float(*, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """x [T, K] float32 times weight [N, K] -> y [T, N]: acc = bias or 0, then one fma per ascending k."""
    rows, outputs = x.shape[0], weight.shape[0]
    y = torch.zeros(rows, outputs) if bias is None else bias.float().repeat(rows, 1)
    for start in range(0, outputs if rows else 0, max(1, _TILE // rows) if rows else 1):
        tile = slice(start, start + max(1, _TILE // rows))
        w = weight[tile].float().T.contiguous()
        accumulator = y[:, tile]
        for k in range(x.shape[1]):
            accumulator = fma(x[:, k, None], w[k], accumulator)
        y[:, tile] = accumulator
    return {"y": y}


def linear_published(
    *, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None, threshold: float
) -> dict[str, torch.Tensor]:
    """LLM.int8() as published (arXiv 2208.07339, bitsandbytes): x [T, K] float32, codes [N, K] -> y [T, N].

    Columns with an outlier in any row of the call are taken out and multiplied in 16-bit floats with the dequantised
    weight, so a row's result depends on its neighbours. A row's scale is its largest inlier, also where another row
    takes the column out: bitsandbytes' rule (kInt8VectorQuant); in the paper (eq. 8) only columns that stay count.
    """
    large = x.abs().ge(threshold) if threshold > 0 else torch.zeros(x.shape, dtype=torch.bool)
    outlier = large.any(0)
    inliers = torch.where(outlier, f32(0), x)
    s = torch.where(large, f32(0), x.abs()).amax(1) if x.numel() else torch.zeros(x.shape[0])
    q = torch.where(s[:, None] > 0, torch.round(inliers * (f32(127) / s)[:, None]), f32(0))
    total = (q.double() @ weight.double().T).float()
    y = (total * s[:, None]) * (scale / f32(127 * 127))[None, :]
    y = y + outlier_product(x, outlier, weight, scale / f32(127))
    return {"y": y if bias is None else y + bias}


def outlier_product(x: torch.Tensor, outlier: torch.Tensor, codes: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """The columns of x [T, K] that are outliers times those of the weight codes * unit, [N, K] and [N], in 16-bit
    floats: one fma chain."""
    product = torch.zeros(x.shape[0], codes.shape[0])
    for k in outlier.nonzero()[:, 0].tolist():
        w = (codes[:, k].float() * unit).half().float()
        product = fma(x[:, k, None].half().float(), w[None, :], product)
    return product
