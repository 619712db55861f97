"""Memory as the system counts it: what the ledger is compared with."""

from __future__ import annotations

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
