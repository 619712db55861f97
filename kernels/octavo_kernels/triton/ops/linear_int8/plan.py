"""Which kernels compute linear_int8 at a given size, on a given GPU."""

from __future__ import annotations

from typing import Any

import torch
from triton.tools.tensor_descriptor import TensorDescriptor

from ...launch import Context, Launch, Operand, cdiv
from .blocks import carry_groups
from .decode import decode
from .prefill import prefill
from .tiles import MOST_DECODE_ROWS, Tile, decode_tile, known, prefill_tile, split

#: Columns of a group of the lists of carries.
GROUP = 16
#: Columns of the lists that are multiplied at once.
CARRY_COLUMNS = 64


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
    """Digits int8 [T, pad64(K)] times weight int8 [N, K] -> y float32 [T, N].

    step float32 [T], scale and bias float32 [N].
    """
    rows, outputs = y.shape
    if rows == 0 or outputs == 0:
        return []
    # Digits beyond K are zero, so a weight may be read as far as its rows are apart, whatever is there.
    columns = min(low.shape[1], max(weight.shape[1], weight.stride))
    arguments = {
        **{"low": low.tensor, "high": high.tensor, "step": step.tensor, "weight": weight.tensor},
        **{"scale": scale.tensor, "bias": bias.tensor if bias else None, "y": y.tensor, "rows": y.rows},
        **{"low_stride": low.stride, "high_stride": high.stride, "weight_stride": weight.stride},
        **{"y_stride": y.stride, "capacity": rows, "outputs": outputs, "columns": columns},
    }
    if rows <= MOST_DECODE_ROWS[known(context.architecture)]:
        return [_decode(context, arguments, rows, outputs, columns)]
    return _prefill(context, arguments, carries, rows, outputs, columns)


def _decode(context: Context, arguments: dict[str, Any], rows: int, outputs: int, columns: int) -> Launch:
    tile = decode_tile(context.architecture, rows, columns)
    column_tiles, row_tiles = cdiv(outputs, tile.outputs), cdiv(rows, tile.rows)
    splits, steps = split(column_tiles * row_tiles, cdiv(columns, tile.columns), context.processors, overhead=0.25)
    dependent = context.architecture >= 90 and not context.interpreted
    return Launch(
        decode,
        (column_tiles, splits, row_tiles),
        {**arguments, **_splitting(context, tile, column_tiles * row_tiles, splits, steps)},
        {
            **{"BLOCK_M": tile.rows, "BLOCK_N": tile.outputs, "BLOCK_K": tile.columns, "SPLITS": splits},
            **{
                "EVEN": columns % tile.columns == 0,
                "DEPENDENT": dependent,
                "PREFETCH": 1024 if dependent else 0,
            },
        },
        warps=tile.warps,
        stages=tile.stages,
        dependent=dependent,
    )


def _prefill(
    context: Context, arguments: dict[str, Any], carries: Operand, rows: int, outputs: int, columns: int
) -> list[Launch]:
    tile = prefill_tile(context.architecture, columns)
    column_tiles, row_tiles, group_count = cdiv(outputs, tile.outputs), cdiv(rows, tile.rows), cdiv(columns, GROUP)
    lists = {
        "counts": context.scratch(torch.int32, row_tiles),
        "groups": context.scratch(torch.int32, row_tiles, group_count),
        "group_count": group_count,
    }
    marks = Launch(
        carry_groups,
        (row_tiles,),
        {
            **{"carries": carries.tensor, "rows": arguments["rows"], "carries_stride": carries.stride, **lists},
            "flags": context.scratch(torch.int32, row_tiles, group_count),
        },
        {"BLOCK_M": tile.rows, "GROUP": GROUP, "ENTRIES": 32, "CHUNK": 1024},
        warps=8,
    )
    slots = context.processors * tile.resident
    splits, steps = split(column_tiles * row_tiles, cdiv(columns, tile.columns), slots, overhead=3)
    product = Launch(
        prefill,
        (column_tiles * row_tiles, splits),
        {
            **arguments,
            **lists,
            **_splitting(context, tile, column_tiles * row_tiles, splits, steps),
            **_descriptors(context, arguments, tile, rows, outputs, columns),
        },
        {
            **{"BLOCK_M": tile.rows, "BLOCK_N": tile.outputs, "BLOCK_K": tile.columns, "SPLITS": splits},
            **{"GROUP": GROUP, "CARRY_K": CARRY_COLUMNS, "EVEN": columns % tile.columns == 0},
        },
        warps=tile.warps,
        stages=tile.stages,
        registers=tile.registers,
    )
    return [marks, product]


def _splitting(context: Context, tile: Tile, tiles: int, splits: int, steps: int) -> dict[str, Any]:
    return {
        "chunk": steps * tile.columns,
        "partial": context.scratch(torch.int32, tiles, splits, tile.rows * tile.outputs) if splits > 1 else None,
        "tickets": context.tickets(tiles) if splits > 1 else None,
    }


def _descriptors(
    context: Context, arguments: dict[str, Any], tile: Tile, rows: int, outputs: int, columns: int
) -> dict[str, TensorDescriptor | None]:
    """For TMA on sm_90 where rows start at multiples of 16 bytes; what lies outside of a tensor is read as zero."""
    names = {"low": (rows, tile.rows), "weight": (outputs, tile.outputs)}
    aligned = all(arguments[f"{name}_stride"] % 16 == 0 and arguments[name].data_ptr() % 16 == 0 for name in names)
    if known(context.architecture) != 90 or not aligned:
        return {f"{name}_tiles": None for name in names}
    return {
        f"{name}_tiles": TensorDescriptor(
            arguments[name], [extent, columns], [arguments[f"{name}_stride"], 1], [block, tile.columns]
        )
        for name, (extent, block) in names.items()
    }
