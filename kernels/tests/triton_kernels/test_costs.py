"""What the kernels would cost is told as it is computed, of every kernel, with the targets that are missed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from proofs.compile.facts import Facts
from proofs.compile.store import Compiled, load
from proofs.costs import carries, devices, model, occupancy
from proofs.costs.page import page
from proofs.costs.tables import everything
from proofs.costs.targets import targets
from proofs.costs.work import Work

PAGE = Path(__file__).parents[3] / "docs/gpu-costs.md"
#: The page may lag behind the code by as much; the model itself is not better.
CLOSE = 0.1


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return load()


def rows(text: str) -> dict[tuple[str, ...], list[float]]:
    """The numbers of each row of all tables, by the row's words and its number among rows with the same words."""
    found: dict[tuple[str, ...], list[float]] = {}
    for line in text.splitlines():
        if not line.startswith("| ") or line.startswith("| ---"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        words = [re.sub(r"(?<![\w.-])[\d,.]+", "#", cell) for cell in cells[3:]]
        numbers = [float(one.replace(",", "")) for one in re.findall(r"(?<![\w.-])\d[\d,]*\.?\d*", " ".join(cells[3:]))]
        found[(*cells[:3], *words)] = numbers
    return found


def test_the_page_in_docs_says_what_the_code_computes(compiled: Compiled):
    """A stale page tells readers about kernels that are no more; `make kernels-report` writes it anew."""
    computed = rows(page(compiled, farthest_shown=100))
    for key, numbers in rows(PAGE.read_text(encoding="utf-8")).items():
        assert key in computed, key
        assert numbers == pytest.approx(computed[key], rel=CLOSE), key


def test_the_page_is_short():
    """Nobody reads nine hundred lines."""
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 80


def test_the_tables_cover_every_op_and_every_kernel(compiled: Compiled):
    """A kernel that is left out could be slow without anyone knowing."""
    text = everything(compiled)
    kernels = {facts.kernel for facts in compiled.facts.values()}
    assert not [name for name in kernels if f"`{name}`" not in text]
    assert not [op for op in compiled.ops if f"| {op} |" not in text]


def test_a_target_that_is_missed_is_told(compiled: Compiled):
    """Numbers that fall short must be seen, not smoothed."""
    text = PAGE.read_text(encoding="utf-8")
    for target in targets(compiled):
        line = next(line for line in text.splitlines() if line.startswith(f"| {target.name} |"))
        assert line.endswith(f"| {'met' if target.met else '**missed**'} |")


def test_decode_linears_leave_most_issue_slots_free_and_a_layer_takes_eight_launches(compiled: Compiled):
    """Else decode is bound by instructions instead of the memory, and the GPU waits for launches."""
    held = [target for target in targets(compiled) if target.name.startswith(("Issue", "Kernel launches"))]
    assert len(held) == 3
    assert all(target.met for target in held), held


def test_nothing_is_called_measured():
    """There was no GPU: a computed time that is taken for a measured one misleads."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "measured" in line] == [
        line for line in lines if "Nothing here was measured" in line
    ]


def test_occupancy_follows_registers_shared_memory_and_threads():
    """The model would overlap what cannot run together."""
    facts = Facts("k", 80, 4, 128, 0, 0, 0, 40_000, {}, {}, {})
    assert occupancy.resident(facts, devices.A100) == 4
    assert occupancy.resident(Facts("k", 80, 4, 250, 0, 0, 0, 0, {}, {}, {}), devices.A100) == 2
    assert occupancy.resident(Facts("k", 80, 32, 32, 0, 0, 0, 0, {}, {}, {}), devices.RTX_4090) == 1


def test_a_stream_takes_its_bytes_over_the_bandwidth():
    """The floor of every number."""
    facts = Facts("k", 90, 4, 64, 0, 0, 0, 50_000, {}, {}, {})
    one = Work(1024, 4, 100, 0, False, 0, 3.35e9, 48_000, 0, False, 1)
    took = model.time(one, facts, devices.H100)
    assert took.memory == pytest.approx(1000 / model.STREAM)
    assert took.bound == "memory"
    # One program cannot ask for enough at a time.
    assert model.time(Work(1, 4, 100, 0, False, 0, 3.35e9, 48_000, 0, False, 1), facts, devices.H100).memory > 10_000


def test_wider_groups_of_columns_hold_more_zeros():
    """The comparison of ways to skip them would be upside down."""
    for label in carries.COLUMNS:
        dense, blocks, groups, columns = carries.ways(label)
        assert columns.tensor < groups.tensor <= 1 and blocks.tensor <= dense.tensor == 1
