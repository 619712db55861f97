"""Linears, and a decoder layer's 8-bit path, of a program on plain tensors: what is timed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from octavo_kernels.program.shapes import carry_words
from octavo_kernels.program.spec import Columns, Handle, Value, resolve
from octavo_kernels.reference.views import TORCH_DTYPES
from octavo_kernels.tensor import PACKED_COLUMNS, round_up
from octavo_kernels.triton.eager import prepare_op

from ..programs.file import Program
from ..programs.layers import layer

Call = Callable[[], object]
Tensors = dict[str, torch.Tensor]
#: What a layer without attention leaves out: it would need pages, and peers' attention is another one.
_LEFT_OUT = ("rope_append", "attention")


def activations(rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """float32 with a few outlier columns, as models have them."""
    x = torch.randn(rows, columns, device=device)
    x[:, :: max(1, columns // 6)] *= 20
    return x


def codes(n: int, k: int, device: torch.device) -> torch.Tensor:
    """A random int8 weight, row-major and padded as plans want it."""
    whole = torch.randint(-127, 128, (n, round_up(k, PACKED_COLUMNS)), dtype=torch.int8, device=device)
    whole[:, k:] = 0
    return whole[:, :k]


def octavo_linear(x: torch.Tensor, n: int) -> Call:
    """Quantise, then the exact product: what bitsandbytes does in a linear."""
    (rows, k), device = x.shape, x.device
    quantized = {
        "low": torch.zeros(rows, round_up(k, PACKED_COLUMNS), dtype=torch.int8, device=device),
        "high": torch.zeros(rows, round_up(k, PACKED_COLUMNS), dtype=torch.int8, device=device),
        "carries": torch.zeros(rows, carry_words(k), dtype=torch.int32, device=device),
        "step": torch.zeros(rows, device=device),
    }
    weight = {"weight": codes(n, k, device), "scale": torch.rand(n, device=device) + 0.5}
    y = torch.empty(rows, n, device=device)
    return _in_order(
        prepare_op("quantize", {"x": x}, quantized),
        prepare_op("linear_int8", {**quantized, **weight}, {"y": y}),
    )


def octavo_layer(program: Program, number: int, rows: int, device: torch.device) -> Call:
    """All of a program's decoder layer but attention, with random weights."""
    ops = [program.spec.ops[index] for index in layer(program, number)]
    tensors: dict[int, torch.Tensor] = {}

    def named(operands: dict[str, int]) -> Tensors:
        return {name: tensor(index) for name, index in operands.items()}

    def tensor(index: int) -> torch.Tensor:
        value = program.spec.values[index]
        if index not in tensors:
            if isinstance(value.place, Columns):
                column, width = value.place.column, int(value.shape[1])
                tensors[index] = tensor(value.place.of)[:, column : column + width]
            else:
                tensors[index] = _memory(value, rows, device)
        return tensors[index]

    return _in_order(
        *(
            prepare_op(one.op, named(one.inputs), named(one.outputs), one.attributes)
            for one in ops
            if one.op not in _LEFT_OUT
        )
    )


def _memory(value: Value, rows: int, device: torch.device) -> torch.Tensor:
    shape = resolve(value.shape, {"T": rows})
    if not isinstance(value.place, Handle):
        if value.dtype == "float32" and len(shape) == 2:
            return activations(shape[0], shape[1], device)
        return torch.zeros(shape, dtype=TORCH_DTYPES[value.dtype], device=device)
    return codes(shape[0], shape[1], device) if value.dtype == "int8" else torch.rand(shape, device=device) + 0.5


def _in_order(*calls: Call) -> Call:
    def call() -> None:
        for each in calls:
            each()

    return call
