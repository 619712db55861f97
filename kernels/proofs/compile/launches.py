"""Kernel launches of a program's ops on a GPU, planned without one as the executor plans them."""

from __future__ import annotations

from collections.abc import Iterable

from octavo_kernels.triton.buckets import Buckets
from octavo_kernels.triton.frame import Frame
from octavo_kernels.triton.measure import without_contents

from ..programs.file import Program
from .context import MetaContext


def count_launches(program: Program, ops: Iterable[int], rows: int, architecture: int) -> list[int]:
    """Of these ops, in a step of so many rows, each of a sequence of its own."""
    spec = program.spec
    capacity = Buckets(spec).fit({**spec.limits, "T": rows, "S": rows, "B": rows})
    frame = Frame(spec, capacity, spec.outputs, len(spec.ops), without_contents(spec))
    context = MetaContext(architecture)
    return [sum(0 not in launch.grid for launch in frame.plan(context, spec.ops[index])) for index in ops]
