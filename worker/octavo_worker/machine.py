"""What the machine and this process have of memory, as the system counts it. All numbers in bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_CGROUP_FILES = (  # (limit, usage) of cgroup v2 and v1, as a container sees its own.
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


@dataclass(frozen=True)
class ProcessMemory:
    """`anonymous` is the part of `resident` that no file backs, shared memory included."""

    resident: int
    anonymous: int


def process_memory() -> ProcessMemory:
    """Of this process, from /proc; elsewhere the peak that getrusage knows."""
    try:
        fields = _kilobytes("/proc/self/status")
        return ProcessMemory(fields["VmRSS"], fields["RssAnon"] + fields["RssShmem"])
    except (OSError, KeyError):
        import resource  # POSIX without /proc: macOS counts bytes here.

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return ProcessMemory(peak, peak)


def memory_total() -> int:
    """Bytes of the machine, or of this container when that is less."""
    try:
        total = _kilobytes("/proc/meminfo")["MemTotal"]
    except (OSError, KeyError):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _cgroup()
    return total if limit is None else min(total, limit[0])


def memory_available() -> int:
    """Bytes that could be allocated without swapping."""
    try:
        available = _kilobytes("/proc/meminfo")["MemAvailable"]
    except (OSError, KeyError):
        available = memory_total()
    limit = _cgroup()
    return available if limit is None else max(0, min(available, limit[0] - limit[1]))


def _cgroup() -> tuple[int, int] | None:
    """(limit, use) in bytes, or None without a limit. The page cache counts as use, so the truth is a little better."""
    for limit_file, usage_file in _CGROUP_FILES:
        try:
            limit = Path(limit_file).read_text().strip()
            used = int(Path(usage_file).read_text())
        except (OSError, ValueError):
            continue
        return None if limit == "max" or int(limit) >= 1 << 60 else (int(limit), used)
    return None


def _kilobytes(path: str) -> dict[str, int]:
    """The `Name:  123 kB` lines of a /proc file."""
    fields = {}
    with open(path) as file:
        for line in file:
            name, _, rest = line.partition(":")
            words = rest.split()
            if len(words) == 2 and words[1] == "kB":
                fields[name] = int(words[0]) * 1024
    return fields
