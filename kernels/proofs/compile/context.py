"""What a plan asks of the executor, answered for a GPU that is not here."""

from __future__ import annotations

import torch

#: Streaming multiprocessors of the card that stands for an architecture: A100, RTX 3090, RTX 4090, H100 SXM, B200.
PROCESSORS = {80: 108, 86: 82, 89: 128, 90: 132, 100: 148}


class MetaContext:
    """See launch.Context. Remembers what it gave out, so that the report can tell scratch memory from operands."""

    interpreted = False

    def __init__(self, architecture: int, processors: int | None = None) -> None:
        self.architecture = architecture
        self.processors = processors or PROCESSORS[architecture]
        self.counters = torch.empty(2, dtype=torch.int64, device="meta")
        self.given: list[torch.Tensor] = []

    def scratch(self, dtype: torch.dtype, *shape: int) -> torch.Tensor:
        self.given.append(torch.empty(shape, dtype=dtype, device="meta"))
        return self.given[-1]

    def tickets(self, count: int) -> torch.Tensor:
        return self.scratch(torch.int32, count)
