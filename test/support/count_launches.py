"""Kernel launches of each op of a program on a GPU, planned without one.

usage: count_launches.py FILE ROWS,ROWS... ARCHITECTURE,ARCHITECTURE...      FILE: the bytes of a `define` message
writes a JSON list of {"architecture", "rows", "ops": [[op, launches], ...]}, ops in the order of the program
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from octavo_kernels import ProgramSpec
from octavo_kernels.triton.buckets import Buckets
from octavo_kernels.triton.frame import Frame
from octavo_kernels.triton.measure import without_contents
from octavo_kernels.triton.workspace import Measure
from octavo_worker.codec import decode_request
from octavo_worker.definitions import program_spec
from octavo_worker.generated.messages import Define


def main(file: str, rows: list[int], architectures: list[int]) -> None:
    message = decode_request(Path(file).read_bytes())
    assert isinstance(message, Define)
    spec = program_spec(message)
    found = [
        {"architecture": architecture, "rows": count, "ops": launches(spec, count, architecture)}
        for architecture in architectures
        for count in rows
    ]
    print(json.dumps(found))


def launches(spec: ProgramSpec, rows: int, architecture: int) -> list[tuple[str, int]]:
    device: Any = SimpleNamespace(architecture=architecture, processors=132, interpreted=False)
    context = Measure(device)
    capacity = Buckets(spec).fit({**spec.limits, "T": rows, "S": rows, "B": rows})
    frame = Frame(spec, capacity, spec.outputs, len(spec.ops), without_contents(spec))
    counts = []
    for operation in spec.ops:
        context.begin()
        planned = [launch for launch in frame.plan(context, operation) if 0 not in launch.grid]
        counts.append((operation.op, len(planned)))
    return counts


if __name__ == "__main__":
    main(sys.argv[1], *([int(number) for number in argument.split(",")] for argument in sys.argv[2:4]))
