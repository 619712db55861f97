"""Wrong variants of messages: a number that is too large, an element twice, another word, another place."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

NUMBERS = (0, 1, 2, 3, 7, 16, 63, 64, 65, 255, 4096, 2**20, 2**31 - 1, 2**31, 2**32 + 1, 2**40, 2**52, 2**53 - 1)
_WORDS = (
    *("float32", "float16", "bfloat16", "int8", "int16", "int32", "int64", "plain", "packed"),
    *("T", "S", "S+1", "B", "B+1", "J", "H", "D", "Q", "all", "off", "interleaved", "layer", "zeropoint", "tensor"),
)
_KEPT = ("kind", "id", "epoch", "type", "name", "op", "program")


def mutated(rng: Random, message: dict[str, Any]) -> dict[str, Any]:
    """A copy with one to three changes."""
    changed = copy.deepcopy(message)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(rng, changed)
    return changed


def _change(rng: Random, message: dict[str, Any]) -> None:
    places: list[tuple[Any, Any]] = []
    _walk(message, places)
    if not places:
        return
    within, key = rng.choice(places)
    old = within[key]
    if isinstance(old, bool):
        within[key] = not old
    elif isinstance(old, (int, float)):
        near = (old + 1, max(0, old - 1), 2 * old)
        within[key] = rng.choice(NUMBERS) if rng.random() < 0.6 else rng.choice(near)
    elif isinstance(old, str):
        within[key] = rng.choice(_WORDS)
    elif isinstance(old, list) and old:
        at = rng.randrange(len(old))
        action = rng.randrange(4)
        if action == 0:
            del old[at]
        elif action == 1:
            old.insert(at, copy.deepcopy(rng.choice(old)))
        elif action == 2:
            old.extend(copy.deepcopy(old[at]) for _ in range(rng.choice((1, 8, 70))))
        else:
            other = rng.randrange(len(old))
            old[at], old[other] = old[other], old[at]


def _walk(value: Any, places: list[tuple[Any, Any]]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in _KEPT:
                places.append((value, key))
                _walk(inner, places)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            if not isinstance(inner, (dict, list)):
                places.append((value, at))
            _walk(inner, places)
