"""Reads an exported program (`ts/program/export.ts`) as the `ProgramSpec` that a worker would be sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octavo_kernels.program.spec import Arena, Columns, Handle, Input, Operation, Place, ProgramSpec, Value

FORMAT, VERSION = "octavo-program", 2


@dataclass(frozen=True)
class Parameter:
    """`source`: where its contents come from, as the family says; `type` is tensors, scale, constant or state."""

    name: str
    dtype: str
    layout: str
    shape: tuple[int, ...]
    source: dict[str, Any]


@dataclass(frozen=True)
class Program:
    """A program with its names. The handle of a parameter is its place among `parameters`, from 1 on."""

    name: str
    spec: ProgramSpec
    #: What each op is called: "model.layers.3.self_attn.append".
    labels: list[str]
    parameters: list[Parameter]
    #: Values by name: what each step brings, and returns.
    inputs: dict[str, int]
    outputs: dict[str, int]
    arena_bytes: int
    #: What the family was asked for (`ModelOptions`).
    options: dict[str, Any]

    def handle(self, parameter: str) -> int:
        return 1 + [one.name for one in self.parameters].index(parameter)

    @property
    def draws(self) -> bool:
        """Whether it samples, so that a step may name ids of the step before."""
        return "ids" in self.outputs


def read(path: Path) -> Program:
    """Raises ValueError for another format or version."""
    return program(json.loads(path.read_text()), path.stem)


def program(file: dict[str, Any], name: str) -> Program:
    """Of the parsed file."""
    found = (file.get("format"), file.get("version"))
    if found != (FORMAT, VERSION):
        raise ValueError(f"{name} is {found}; this reads {(FORMAT, VERSION)}")
    parameters = [
        Parameter(one["name"], one["dtype"], one["layout"], tuple(one["shape"]), one["source"])
        for one in file["parameters"]
    ]
    handles = {one.name: number for number, one in enumerate(parameters, 1)}
    values = tuple(
        Value(one["dtype"], one["layout"], tuple(one["shape"]), _place(one["place"], handles)) for one in file["values"]
    )
    ops = tuple(
        Operation(one["op"], dict(one["inputs"]), dict(one["outputs"]), dict(one["attributes"])) for one in file["ops"]
    )
    outputs = {one["name"]: one["value"] for one in file["outputs"]}
    spec = ProgramSpec(values, ops, tuple(file["inputs"]), tuple(outputs.values()), dict(file["limits"]))
    inputs = {file["values"][index]["place"]["name"]: index for index in file["inputs"]}
    labels = [one["label"] for one in file["ops"]]
    return Program(name, spec, labels, parameters, inputs, outputs, file["arenaBytes"], file["options"])


def _place(place: dict[str, Any], handles: dict[str, int]) -> Place:
    match place["type"]:
        case "parameter":
            return Handle(handles[place["name"]])
        case "input":
            return Input()
        case "columns":
            return Columns(place["of"], place["column"])
        case "intermediate":
            return Arena(place["offset"])
        case other:
            raise ValueError(f"no place {other!r}")
