"""Memory as the system counts it: what the ledger is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from octavo_worker import machine


def test_memory_that_is_touched_is_seen_as_anonymous() -> None:
    before = machine.process_memory()
    touched = np.ones(32 << 20, np.uint8)
    after = machine.process_memory()
    grown = after.anonymous - before.anonymous
    # Other threads and the allocator may take or give some at the same time.
    assert 28 << 20 < grown < 40 << 20
    assert after.resident >= after.anonymous
    assert touched[0] == 1


def test_available_memory_is_part_of_the_total() -> None:
    assert 0 < machine.memory_available() <= machine.memory_total()


MIB = 1 << 20


def machine_with(root: Path, own: str, groups: dict[str, dict[str, int | str]]) -> Path:
    """A /proc and a /sys as a process sees them; `groups`: folder below /sys/fs/cgroup -> its files."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: {64 << 20} kB\nMemAvailable: {32 << 20} kB\n")
    (root / "proc/self/cgroup").write_text(own)
    for folder, files in groups.items():
        path = root / "sys/fs/cgroup" / folder
        path.mkdir(parents=True)
        for name, value in files.items():
            (path / name).write_text(f"{value}\n")
    return root


def version2(limit: int | str, used: int, inactive: int = 0, active: int = 0, mapped: int = 0) -> dict[str, int | str]:
    stat = f"anon {used - inactive - active}\nfile {inactive + active}\ninactive_file {inactive}\nactive_file {active}"
    stat += f"\nfile_mapped {mapped}"
    return {"memory.max": limit, "memory.current": used, "memory.stat": stat}


def test_a_model_file_in_the_page_cache_does_not_count_as_used_memory(tmp_path: Path) -> None:
    """A container of 4 GiB that has read 3 GiB of weights once can still load them."""
    group = version2(4096 * MIB, 3500 * MIB, inactive=2000 * MIB, active=1000 * MIB)
    root = machine_with(tmp_path, "0::/\n", {"": group})
    assert machine.memory_available(root) == (4096 - 500) * MIB
    assert machine.memory_total(root) == 4096 * MIB


def test_the_page_cache_of_version_1_includes_the_groups_below(tmp_path: Path) -> None:
    stat = "inactive_file 7\nactive_file 7\n" + f"total_inactive_file {300 * MIB}\ntotal_active_file {100 * MIB}"
    files = {"memory.limit_in_bytes": 1024 * MIB, "memory.usage_in_bytes": 900 * MIB, "memory.stat": stat}
    own = "5:devices:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n"
    root = machine_with(tmp_path, own, {"memory/docker/abc": files})
    assert machine.memory_available(root) == (1024 - 500) * MIB


def test_programs_and_libraries_that_run_are_not_cache_that_can_be_dropped(tmp_path: Path) -> None:
    """In a fresh container the pages of Node and Python count: without them it would read its code again and again."""
    group = version2(512 * MIB, 300 * MIB, inactive=50 * MIB, active=100 * MIB, mapped=60 * MIB)
    root = machine_with(tmp_path, "0::/\n", {"": group})
    assert machine.memory_available(root) == (512 - 300 + 150 - 60) * MIB
    stat = f"total_inactive_file {50 * MIB}\ntotal_active_file {100 * MIB}\ntotal_mapped_file {60 * MIB}"
    files = {"memory.limit_in_bytes": 512 * MIB, "memory.usage_in_bytes": 300 * MIB, "memory.stat": stat}
    root = machine_with(tmp_path / "1", "4:memory:/a\n", {"memory/a": files})
    assert machine.memory_available(root) == (512 - 300 + 150 - 60) * MIB


def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    """A service of systemd, or a pod: its own group has no limit, one above it has."""
    groups = {
        "a": version2(8192 * MIB, 100 * MIB),
        "a/b": version2(512 * MIB, 200 * MIB),
        "a/b/c": version2("max", 100 * MIB),
    }
    root = machine_with(tmp_path, "0::/a/b/c\n", groups)
    assert machine.memory_total(root) == 512 * MIB
    assert machine.memory_available(root) == 312 * MIB


def test_without_a_limit_the_machine_counts(tmp_path: Path) -> None:
    root = machine_with(tmp_path, "0::/\n1:memory:/\n", {"memory": {"memory.limit_in_bytes": 2**63 - 4096}})
    assert machine.memory_total(root) == 64 << 30
    assert machine.memory_available(root) == 32 << 30


def test_a_group_outside_of_what_a_container_sees_is_not_followed(tmp_path: Path) -> None:
    root = machine_with(tmp_path, "0::/../../other\n", {"": version2(100 * MIB, 10 * MIB)})
    assert machine.memory_available(root) == 90 * MIB
