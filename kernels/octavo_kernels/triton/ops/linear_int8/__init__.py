"""linear_int8: digits times codes, exact integer sums, one dequantisation. See docs/numerics.md."""

from __future__ import annotations

import torch

from ...launch import Context, Launch, Operand, cdiv
from .decode import decode


def linear_int8(
    context: Context,
    *,
    low: Operand,
    high: Operand,
    carries: Operand,
    step: Operand,
    weight: Operand,
    scale: Operand,
    y: Operand,
    bias: Operand | None = None,
) -> list[Launch]:
    """low, high int8 [T, pad64(K)], step float32 [T], weight int8 [N, K], scale, bias float32 [N] -> y float32 [T, N]."""
    rows, outputs = y.shape
    if rows == 0 or outputs == 0:
        return []
    # Digits beyond K are zero, so weights may be read as far as a packed row goes, whatever is there.
    columns = min(low.shape[1], max(weight.shape[1], weight.stride))
    block_m, block_n, block_k, splits = 8, 64, 256, 1
    chunk = cdiv(cdiv(columns, block_k), splits) * block_k
    tiles = (cdiv(outputs, block_n), splits, cdiv(rows, block_m))
    arguments = {
        **{"low": low.tensor, "high": high.tensor, "step": step.tensor, "weight": weight.tensor},
        **{"scale": scale.tensor, "bias": bias.tensor if bias else None, "y": y.tensor, "rows": y.rows},
        "partial": context.scratch(torch.int32, splits, rows, outputs) if splits > 1 else None,
        "tickets": context.tickets(tiles[0] * tiles[2]) if splits > 1 else None,
        **{"low_stride": low.stride, "high_stride": high.stride, "weight_stride": weight.stride},
        **{"y_stride": y.stride, "capacity": rows, "outputs": outputs, "columns": columns, "chunk": chunk},
    }
    constants = {
        **{"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k, "SPLITS": splits},
        **{"EVEN": columns % block_k == 0, "DEPENDENT": False, "PREFETCH": 0},
    }
    return [Launch(decode, tiles, arguments, constants, warps=4, stages=4)]
