"""Which worker this process is, by what launchers tell in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from .generated import environment

#: The first one that is set counts. LeaderWorkerSet knows one process per pod, and no local rank.
RANK = (
    environment.RANK,
    environment.SLURM_PROCID,
    environment.OMPI_COMM_WORLD_RANK,
    environment.LWS_WORKER_INDEX,
)
LOCAL_RANK = (environment.LOCAL_RANK, environment.SLURM_LOCALID, environment.OMPI_COMM_WORLD_LOCAL_RANK)
LOCAL_SIZE = (environment.LOCAL_WORLD_SIZE, environment.OMPI_COMM_WORLD_LOCAL_SIZE)


def from_environment(names: Sequence[str], variables: Mapping[str, str] | None = None) -> int | None:
    """The number in the first of these variables that is set; None when none is. ValueError names one without."""
    variables = os.environ if variables is None else variables
    for name in names:
        text = variables.get(name, "")
        if text == "":
            continue
        if not (text.isascii() and text.isdecimal() and len(text) <= 6):
            raise ValueError(f"{name} is {text[:80]!r}, not a whole number")
        return int(text)
    return None


def threads_here(workers: int) -> int:
    """CPUs that this process may use (affinity, and a container's quota), shared by so many workers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, round(_quota() or cores)) // max(1, workers))


def _quota() -> float | None:
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None  # None, "max", or not Linux.
