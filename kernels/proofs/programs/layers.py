"""What the labels of a program's ops say: which layer they belong to, and what they are there."""

from __future__ import annotations

import re

from .file import Program


def short(label: str) -> str:
    """An op's label without its layer and its number: "q_proj+k_proj+v_proj", "append", "sample"."""
    return "+".join(re.sub(r"\.\d+$", "", part).rpartition(".")[2] for part in label.split("+"))


def layer(program: Program, number: int) -> list[int]:
    """The ops of a decoder layer, in order. From the second layer on the first adds what the layer before has made."""
    return [index for index, label in enumerate(program.labels) if label.startswith(f"model.layers.{number}.")]


def linears(program: Program, number: int) -> dict[str, tuple[int, int]]:
    """[N, K] of a layer's int8 weights, by their short label, in order."""
    found = {}
    for index in layer(program, number):
        operation = program.spec.ops[index]
        if operation.op == "linear_int8":
            n, k = program.spec.values[operation.inputs["weight"]].shape
            found[short(program.labels[index])] = (int(n), int(k))
    return found
