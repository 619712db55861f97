"""The same linears and layer by torch and bitsandbytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .ours import Call, activations


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
    rows: int,
    shapes: Sequence[tuple[int, int]],
    device: torch.device,
    linear: Callable[[torch.Tensor, int], Call | None],
) -> Call | None:
    """A gated layer without attention by torch's ops in 16 bits around another linear; None where that one is not
    installed. `shapes`: [N, K] of its four linears."""
    calls = [linear(activations(rows, k, device), n) for n, k in shapes]
    linears = [call for call in calls if call is not None]
    if len(linears) < len(shapes):
        return None
    hidden, wide = shapes[0][1], shapes[2][0]
    half = activations(rows, hidden, device).bfloat16()
    norm = torch.ones(hidden, device=device, dtype=torch.bfloat16)
    gated = torch.randn(rows, wide, device=device, dtype=torch.bfloat16)

    def call() -> None:
        torch.nn.functional.rms_norm(half + half, (hidden,), norm)
        linears[0]()
        linears[1]()
        torch.nn.functional.rms_norm(half + half, (hidden,), norm)
        linears[2]()
        torch.mul(torch.nn.functional.silu(gated[:, : wide // 2]), gated[:, wide // 2 :])
        linears[3]()

    return call
