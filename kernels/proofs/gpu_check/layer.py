"""Linears and a decoder layer's 8-bit path on plain tensors, ours and by torch and bitsandbytes: what is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from octavo_kernels.program.shapes import carry_words
from octavo_kernels.tensor import PACKED_COLUMNS, round_up
from octavo_kernels.triton.eager import prepare_op

Call = Callable[[], object]
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Sizes:
    """Of a llama: columns of the hidden state, q with k and v, and of one half of the gated layer."""

    hidden: int
    qkv: int
    ffn: int


LLAMA_3_8B = Sizes(4096, 6144, 14336)


def activations(rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """float32 with a few outlier columns, as models have them."""
    x = torch.randn(rows, columns, device=device)
    x[:, :: max(1, columns // 6)] *= 20
    return x


def weight(n: int, k: int, device: torch.device) -> Tensors:
    """Random codes, row-major and padded as plans want them, with scales."""
    codes = torch.randint(-127, 128, (n, round_up(k, PACKED_COLUMNS)), dtype=torch.int8, device=device)
    codes[:, k:] = 0
    return {"weight": codes[:, :k], "scale": torch.rand(n, device=device) + 0.5}


def digits(rows: int, columns: int, device: torch.device) -> Tensors:
    """Room for what the ops that quantise write."""
    padded = round_up(columns, PACKED_COLUMNS)
    return {
        "low": torch.zeros(rows, padded, dtype=torch.int8, device=device),
        "high": torch.zeros(rows, padded, dtype=torch.int8, device=device),
        "carries": torch.zeros(rows, carry_words(columns), dtype=torch.int32, device=device),
        "step": torch.zeros(rows, device=device),
    }


def octavo_linear(x: torch.Tensor, w: Tensors) -> Call:
    """Quantise, then the exact product: what bitsandbytes does in a linear."""
    (rows, k), n = x.shape, w["weight"].shape[0]
    quantized, y = digits(rows, k, x.device), torch.empty(rows, n, device=x.device)
    return _in_order(
        prepare_op("quantize", {"x": x}, quantized),
        prepare_op("linear_int8", {**quantized, **w}, {"y": y}),
    )


def octavo_layer(rows: int, sizes: Sizes, device: torch.device) -> Call:
    """All of a decoder layer but attention, fused as the `fuse` pass does it: eight launches in decode."""
    hidden, ffn = sizes.hidden, sizes.ffn
    x, mixed = activations(rows, hidden, device), activations(rows, hidden, device)
    qkv, o = weight(sizes.qkv, hidden, device), weight(hidden, hidden, device)
    gate_up, down = weight(2 * ffn, hidden, device), weight(hidden, ffn, device)
    norm = torch.ones(hidden, device=device)
    narrow, wide = digits(rows, hidden, device), digits(rows, ffn, device)
    y, after = (torch.empty(rows, hidden, device=device) for _ in range(2))
    projected, gated = (torch.empty(rows, n, device=device) for n in (sizes.qkv, 2 * ffn))

    return _in_order(
        prepare_op("norm_quantize", {"x": x, "weight": norm}, narrow),
        prepare_op("linear_int8", {**narrow, **qkv}, {"y": projected}),
        prepare_op("quantize", {"x": mixed}, narrow),
        prepare_op("linear_int8", {**narrow, **o}, {"y": y}),
        prepare_op("add_norm_quantize", {"a": x, "b": y, "weight": norm}, {"y": after, **narrow}),
        prepare_op("linear_int8", {**narrow, **gate_up}, {"y": gated}),
        prepare_op("glu_quantize", {"gate": gated[:, :ffn], "up": gated[:, ffn:]}, wide),
        prepare_op("linear_int8", {**wide, **down}, {"y": y}),
    )


def _in_order(*calls: Call) -> Call:
    def call() -> None:
        for each in calls:
            each()

    return call


def torch_linear(x: torch.Tensor, n: int) -> Call:
    """bfloat16, as torch does it."""
    half = x.bfloat16()
    w = torch.randn(n, x.shape[1], device=x.device, dtype=torch.bfloat16)
    return lambda: torch.nn.functional.linear(half, w)


def bitsandbytes_linear(x: torch.Tensor, n: int) -> Call | None:
    """LLM.int8() of the bitsandbytes package; None where it is not installed."""
    try:
        from bitsandbytes.nn.modules import Linear8bitLt  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    half = x.half()
    module = Linear8bitLt(x.shape[1], n, bias=False, has_fp16_weights=False, threshold=6.0).to(x.device)
    return lambda: module(half)


def peer_layer(
    rows: int, sizes: Sizes, device: torch.device, linear: Callable[[torch.Tensor, int], Call | None]
) -> Call | None:
    """The same layer by torch's ops in 16 bits around another linear; None where that one is not installed."""
    hidden, ffn = sizes.hidden, sizes.ffn
    x = activations(rows, hidden, device)
    wide = activations(rows, ffn, device)
    calls = [linear(x, sizes.qkv), linear(x, hidden), linear(x, 2 * ffn), linear(wide, hidden)]
    linears = [call for call in calls if call is not None]
    if len(linears) < len(calls):
        return None
    half, norm = x.bfloat16(), torch.ones(hidden, device=device, dtype=torch.bfloat16)
    gated = torch.randn(rows, 2 * ffn, device=device, dtype=torch.bfloat16)

    def call() -> None:
        torch.nn.functional.rms_norm(half, (hidden,), norm)
        linears[0]()
        linears[1]()
        torch.nn.functional.rms_norm(half + half, (hidden,), norm)
        linears[2]()
        torch.mul(torch.nn.functional.silu(gated[:, :ffn]), gated[:, ffn:])
        linears[3]()

    return call
