"""Which kernels compute linear_int8, and its sums alone (multiply_int8), at a given size, on a given GPU."""

from __future__ import annotations

from typing import Any

import torch
from triton.tools.tensor_descriptor import TensorDescriptor

from ...launch import Context, Launch, Operand, cdiv, strides, tensors
from ..dependent import dependent
from .blocks import carry_groups
from .decode import decode
from .prefill import prefill
from .tiles import ASYNCHRONOUS, MOST_DECODE_ROWS, Tile, asynchronous, decode_tile, known, prefill_tile, split

#: Columns of a group of the lists of carries: a 32-byte sector of L2, below which a copy moves the same bytes. It is
#: also the depth of one int8 tensor-core instruction.
GROUP = 32


def linear_int8(context: Context, *, y: Operand, **operands: Operand) -> list[Launch]:
    """Digits int8 [T, pad64(K)] times weight int8 [N, K] -> y float32 [T, N].

    step float32 [T], scale and bias float32 [N].
    """
    return _product(context, y=y, **operands)


def multiply_int8(context: Context, *, sums: Operand, **operands: Operand) -> list[Launch]:
    """Digits int8 [T, pad64(K)] times weight int8 [N, K] -> sums int32 [T, N]."""
    return _product(context, y=sums, **operands)


def _product(
    context: Context,
    *,
    low: Operand,
    high: Operand,
    carries: Operand,
    weight: Operand,
    y: Operand,
    step: Operand | None = None,
    scale: Operand | None = None,
    bias: Operand | None = None,
) -> list[Launch]:
    """Without a step, the sums themselves."""
    rows, outputs = y.shape
    if rows == 0 or outputs == 0:
        return []
    # Digits beyond K are zero, so a weight may be read as far as its rows are apart, whatever is there.
    columns = min(low.shape[1], max(weight.shape[1], weight.stride))
    arguments = tensors(low=low, high=high, weight=weight, y=y, step=step, scale=scale, bias=bias)
    arguments |= {"rows": y.rows, **strides(low=low, high=high, weight=weight, y=y)}
    arguments |= {"capacity": rows, "outputs": outputs, "columns": columns}
    if rows <= MOST_DECODE_ROWS[known(context.architecture)]:
        return [_decode(context, arguments, rows, outputs, columns)]
    return _prefill(context, arguments, carries, rows, outputs, columns)


def _decode(context: Context, arguments: dict[str, Any], rows: int, outputs: int, columns: int) -> Launch:
    tile = decode_tile(context.architecture, rows, columns)
    column_tiles, row_tiles = cdiv(outputs, tile.outputs), cdiv(rows, tile.rows)
    splits, steps = split(
        column_tiles * row_tiles, cdiv(columns, tile.columns), context.processors, overhead=0.25, slab=tile.slab
    )
    follows = dependent(context)
    # A power of two of whole lines, of this split's own columns: what the first stages of the loop will copy.
    ahead = max(128, 1 << min(10, (steps * tile.columns).bit_length() - 1))
    return Launch(
        decode,
        (column_tiles, splits, row_tiles),
        {**arguments, **_splitting(context, tile, column_tiles * row_tiles, splits, steps)},
        {**_sizes(tile, splits, columns), "DEPENDENT": follows, "PREFETCH": ahead if follows else 0},
        warps=tile.warps,
        stages=tile.stages,
        dependent=follows,
    )


def _prefill(
    context: Context, arguments: dict[str, Any], carries: Operand, rows: int, outputs: int, columns: int
) -> list[Launch]:
    aligned = all(
        arguments[f"{name}_stride"] % 16 == 0 and arguments[name].data_ptr() % 16 == 0
        for name in ("low", "high", "weight")
    )
    if aligned and not context.interpreted and asynchronous(context.architecture, rows, outputs, context.processors):
        lists = _lists(context, arguments["rows"], carries, ASYNCHRONOUS.rows, rows, columns)
        return [lists, _asynchronous(arguments, lists, rows, outputs, columns)]
    tile = prefill_tile(context.architecture, columns)
    lists = _lists(context, arguments["rows"], carries, tile.rows, rows, columns)
    tiles = cdiv(outputs, tile.outputs) * cdiv(rows, tile.rows)
    slots = context.processors * tile.resident
    splits, steps = split(tiles, cdiv(columns, tile.columns), slots, overhead=3, slab=tile.slab)
    tma = aligned and known(context.architecture) == 90
    low_tiles = _tiles(arguments, "low", [rows, columns], [tile.rows, tile.columns]) if tma else None
    weight_tiles = _tiles(arguments, "weight", [outputs, columns], [tile.outputs, tile.columns]) if tma else None
    product = Launch(
        prefill,
        (tiles, splits),
        {
            **arguments,
            **_listed(lists),
            **_splitting(context, tile, tiles, splits, steps),
            "low_tiles": low_tiles,
            "weight_tiles": weight_tiles,
        },
        {**_sizes(tile, splits, columns), "GROUP": GROUP, "CARRY_K": tile.carries},
        warps=tile.warps,
        stages=tile.stages,
        registers=tile.registers,
    )
    return [lists, product]


def _asynchronous(arguments: dict[str, Any], lists: Launch, rows: int, outputs: int, columns: int) -> Launch:
    # Gluon is no part of the interpreter's process, where its plain twin is tested.
    from triton.experimental.gluon.language import NVMMASharedLayout
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as GluonDescriptor

    from .gluon import prefill_async

    tile = ASYNCHRONOUS

    def tiles(name: str, extent: int, height: int, width: int) -> GluonDescriptor:
        shape, pitches = [extent, columns], [arguments[f"{name}_stride"], 1]
        # Rows of a tile are swizzled over their whole width.
        layout = NVMMASharedLayout(swizzle_byte_width=width, element_bitwidth=8)
        return GluonDescriptor(arguments[name], shape, pitches, [height, width], layout)

    passed = ("step", "scale", "bias", "y", "rows", "y_stride", "capacity", "outputs", "columns")
    return Launch(
        prefill_async,
        (cdiv(rows, tile.rows) * cdiv(outputs, tile.outputs),),
        {
            **{name: arguments[name] for name in passed},
            **_listed(lists),
            "low_tiles": tiles("low", rows, tile.rows, tile.columns),
            "weight_tiles": tiles("weight", outputs, tile.outputs, tile.columns),
            "high_blocks": tiles("high", rows, tile.rows, GROUP),
            "weight_blocks": tiles("weight", outputs, tile.outputs, GROUP),
        },
        {"BLOCK_M": tile.rows, "BLOCK_N": tile.outputs, "BLOCK_K": tile.columns, "STAGES": tile.stages},
        warps=tile.warps,
    )


def _lists(context: Context, rows: torch.Tensor, carries: Operand, height: int, capacity: int, columns: int) -> Launch:
    tiles, group_count = cdiv(capacity, height), cdiv(columns, GROUP)
    return Launch(
        carry_groups,
        (tiles,),
        {
            **tensors(carries=carries),
            **strides(carries=carries),
            "rows": rows,
            "group_count": group_count,
            "counts": context.scratch(torch.int32, tiles),
            "groups": context.scratch(torch.int32, tiles, group_count),
            "flags": context.scratch(torch.int32, tiles, group_count),
        },
        {"BLOCK_M": height, "GROUP": GROUP, "ENTRIES": 32, "CHUNK": 1024},
        warps=8,
    )


def _listed(lists: Launch) -> dict[str, Any]:
    return {name: lists.arguments[name] for name in ("counts", "groups", "group_count")}


def _sizes(tile: Tile, splits: int, columns: int) -> dict[str, Any]:
    sizes = {"BLOCK_M": tile.rows, "BLOCK_N": tile.outputs, "BLOCK_K": tile.columns, "SPLITS": splits}
    return {**sizes, "EVEN": columns % tile.columns == 0}


def _splitting(context: Context, tile: Tile, tiles: int, splits: int, steps: int) -> dict[str, Any]:
    return {
        "chunk": steps * tile.columns,
        "partial": context.scratch(torch.int32, tiles, splits, tile.rows * tile.outputs) if splits > 1 else None,
        "tickets": context.tickets(tiles) if splits > 1 else None,
    }


def _tiles(arguments: dict[str, Any], name: str, shape: list[int], block: list[int]) -> TensorDescriptor:
    """A TMA descriptor; what lies outside of the tensor is read as zero."""
    return TensorDescriptor(arguments[name], shape, [arguments[f"{name}_stride"], 1], block)
