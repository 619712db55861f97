"""How long a launch takes, by a static model. Good for ranking; 30 % off is nothing to wonder at."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ..compile.facts import Facts
from .devices import Device
from .occupancy import resident
from .work import Work

#: From one node of a CUDA graph to the next, microseconds: published for trivial kernels, GPU not named.
GRAPH_LAUNCH = 0.87
DEPENDENT_LAUNCH = 0.62
# All below is assumed.
#: Until the first data of a program are there: prologue, address, DRAM latency. Microseconds.
START = 0.8
#: From the last data to the end of the grid, without and with adding up splits.
TAIL = 0.2
SPLIT_TAIL = 0.5
#: DRAM latency under load, microseconds.
LATENCY = 0.8
#: Share of the data sheet's bandwidth that a stream reaches.
STREAM = 0.92
#: Bytes per clock from L2 into an SM.
PORT = 64
#: Clocks per instruction of a warp that has its scheduler to itself: chains of dependent instructions, barriers.
DEPENDENCY = 2.5
#: Clocks that a tensor core idles at each wait for a product, if no other program has work for it.
WAIT = 150
#: Bytes of shared memory per clock of an SM, which wgmma reads its operands from.
SHARED_PORT = 128


@dataclass(frozen=True)
class Time:
    """Microseconds. `body` is the largest of the parts; `total` adds launch, start and end."""

    memory: float
    issue: float
    multiply_adds: float
    tensor: float
    dependency: float
    fixed: float
    #: What of `memory` may happen while the launch before still runs.
    early: float

    @property
    def body(self) -> float:
        return max(self.memory, self.issue, self.multiply_adds, self.tensor, self.dependency)

    @property
    def total(self) -> float:
        return self.fixed + self.body

    @property
    def bound(self) -> str:
        """What the launch waits for."""
        parts = {
            **{"memory": self.memory, "issue": self.issue, "multiply-adds": self.multiply_adds},
            "tensor cores": self.tensor,
            "latency": max(self.dependency, self.fixed),
        }
        return max(parts, key=parts.__getitem__)


def time(work: Work, facts: Facts, device: Device, *, in_graph: bool = True) -> Time:
    """Of one launch, after another in a graph."""
    clocks = device.gigahertz * 1e3
    held = resident(facts, device)
    programs = max(1, work.programs)
    active = min(device.processors, programs)
    together = min(held, ceil(programs / device.processors))
    # Little's law: what is on its way over how long it takes.
    reach = min(PORT * device.gigahertz, together * work.ahead / (LATENCY * 1e3))
    rate = min(STREAM * device.memory, active * reach)
    busiest = ceil(programs / device.processors)
    rounds = ceil(busiest / held)
    rate_of_products = device.int8 if work.warpgroup else device.int8_warp
    per_program = work.products / programs / rate_of_products
    if work.warpgroup:
        per_program += work.waits * (WAIT if together == 1 else 0)
    dependent = work.dependent and in_graph
    return Time(
        memory=work.bytes / rate / 1e3 if work.bytes else 0,
        issue=busiest * work.instructions * work.warps / 4 / clocks,
        multiply_adds=busiest * work.multiply_adds / programs / device.float32 / clocks,
        tensor=busiest * per_program / clocks,
        dependency=rounds * work.instructions * DEPENDENCY / clocks,
        fixed=(DEPENDENT_LAUNCH if dependent else GRAPH_LAUNCH) + START + (SPLIT_TAIL if work.splits > 1 else TAIL),
        early=(START + work.prefetched / (STREAM * device.memory) / 1e3) if dependent else 0,
    )
