"""Times of linears and of a decode layer beside torch in bfloat16 and bitsandbytes, weights always from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..programs import layers as of_layer
from ..programs.file import Program
from .ours import Call, activations, octavo_layer, octavo_linear
from .peers import bitsandbytes_linear, peer_layer, torch_linear
from .timing import Timer

#: Decode, small batches, prefill.
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 512, 2048)
_LAYER_ROWS = (1, 8, 32)
#: The second layer: the first has nothing to add before its norm.
_LAYER = 1


@dataclass(frozen=True)
class Speed:
    """Microseconds; those of a peer that is not installed are None."""

    name: str
    rows: int
    octavo: float
    bfloat16: float | None
    bitsandbytes: float | None


def linears(program: Program, rows: Sequence[int], device: torch.device, timer: Timer, cache: int) -> Iterator[Speed]:
    """The linears of a layer. `cache`: bytes of the L2, which so many copies of the weights do not fit."""
    for name, (n, k) in of_layer.linears(program, _LAYER).items():
        copies = 1 + max(1, 2 * cache // (n * k))
        for count in rows:
            x = activations(count, k, device)
            ours = [octavo_linear(x, n) for _ in range(copies)]
            half = _repeated(lambda x=x, n=n: torch_linear(x, n), copies)
            peer = _repeated(lambda x=x, n=n: bitsandbytes_linear(x, n), copies)
            yield _timed(f"{name} {n}x{k}", count, ours, half, peer, timer)


def layers(program: Program, device: torch.device, timer: Timer) -> Iterator[Speed]:
    """A decoder layer without attention; two of them, so that no cache keeps the weights."""
    shapes = list(of_layer.linears(program, _LAYER).values())
    for count in _LAYER_ROWS:
        ours = [octavo_layer(program, _LAYER, count, device) for _ in range(2)]
        half = _repeated(lambda count=count: peer_layer(count, shapes, device, torch_linear), 2)
        peer = _repeated(lambda count=count: peer_layer(count, shapes, device, bitsandbytes_linear), 2)
        yield _timed("layer", count, ours, half, peer, timer)


def _timed(name: str, rows: int, ours: list[Call], half: list[Call], peer: list[Call], timer: Timer) -> Speed:
    return Speed(
        name,
        rows,
        timer.microseconds(ours),
        timer.microseconds(half) if half else None,
        # It reads back whether there are outliers, which a graph cannot.
        timer.microseconds(peer, capture=False) if peer else None,
    )


def _repeated(make: Callable[[], Call | None], copies: int) -> list[Call]:
    """Several of them with weights of their own; none where there is no such peer."""
    return [call for call in (make() for _ in range(copies)) if call is not None]
