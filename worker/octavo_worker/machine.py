"""What the machine and this process have of memory, as the system counts it. All numbers in bytes."""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

_ROOT = Path("/")
# A limit from here on is none: version 1 says "no limit" with a number near 2^63.
_UNLIMITED = 1 << 60
_PAGE = mmap.PAGESIZE


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


def resident_bytes(address: int, size: int) -> int:
    """Of memory that has pages of its own, the bytes of those that are there; all where the system cannot say."""
    first, end = address // _PAGE * _PAGE, -(-(address + size) // _PAGE) * _PAGE
    found = np.empty((end - first) // _PAGE, np.uint8)
    try:
        failed = _libc().mincore(
            ctypes.c_void_p(first), ctypes.c_size_t(end - first), ctypes.c_void_p(found.ctypes.data)
        )
    except AttributeError:  # No such function: Windows.
        return size
    return size if failed else int(np.count_nonzero(found & 1)) * _PAGE


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def memory_total(root: Path = _ROOT) -> int:
    """Bytes of the machine, or of the smallest control group that this process is in when that is less."""
    try:
        total = _kilobytes(root / "proc/meminfo")["MemTotal"]
    except (OSError, KeyError):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([total, *(group.limit for group in control_groups(root))])


def memory_available(root: Path = _ROOT) -> int:
    """Bytes that could be allocated without swapping, in the machine and in every control group of this process."""
    try:
        available = _kilobytes(root / "proc/meminfo")["MemAvailable"]
    except (OSError, KeyError):
        available = memory_total(root)
    return max(0, min([available, *(group.limit - group.used for group in control_groups(root))]))


class ControlGroup(NamedTuple):
    """A control group with a limit, both in bytes. `used` is without the page cache of files, which the kernel drops
    when memory is wanted (`MemAvailable` of /proc/meminfo leaves it out too): a model file that was read once fills it.
    What is mapped is used: programs and libraries, which would be read again at once.
    """

    limit: int
    used: int


def control_groups(root: Path = _ROOT) -> list[ControlGroup]:
    """Those with a memory limit, from this process's own up to the root of what it can see.

    A container sees its own as the root; a service or a login session is some levels below. `root`: where /proc and
    /sys lie.
    """
    own = _own_paths(root)
    v2, v1 = root / "sys/fs/cgroup", root / "sys/fs/cgroup/memory"
    groups = [
        *(_group(v2, path, "memory.max", "memory.current", "", "file_mapped") for path in _up(own.get("", "/"))),
        *(
            _group(v1, path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_", "mapped_file")
            for path in _up(own.get("memory", "/"))
        ),
    ]
    return [group for group in groups if group is not None]


def _own_paths(root: Path) -> dict[str, str]:
    """Controller -> path of this process's control group; "" is version 2's single hierarchy."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    paths = {}
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _up(path: str) -> list[str]:
    """The path and those above it, "" last. Paths out of what a container sees (`/../x`) are not followed."""
    parts = [part for part in path.split("/") if part]
    if ".." in parts:
        return [""]
    return ["/".join(parts[:length]) for length in range(len(parts), -1, -1)]


def _group(
    mount: Path, path: str, limit_name: str, usage_name: str, prefix: str, mapped_name: str
) -> ControlGroup | None:
    """None where there is no such group, or none with a limit. `prefix` of the counters that include groups below."""
    folder = mount / path
    try:
        limit = (folder / limit_name).read_text().strip()
        used = int((folder / usage_name).read_text())
        if limit == "max" or int(limit) >= _UNLIMITED:
            return None
        counters = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cache = sum(int(counters.get(f"{prefix}{name}", 0)) for name in ("inactive_file", "active_file"))
        mapped = int(counters.get(f"{prefix}{mapped_name}", 0))
    except (OSError, ValueError):
        return None
    return ControlGroup(int(limit), max(0, used - max(0, cache - mapped)))


def _kilobytes(path: str | Path) -> dict[str, int]:
    """The `Name:  123 kB` lines of a /proc file."""
    fields = {}
    with open(path) as file:
        for line in file:
            name, _, rest = line.partition(":")
            words = rest.split()
            if len(words) == 2 and words[1] == "kB":
                fields[name] = int(words[0]) * 1024
    return fields
