"""No op reads or writes beyond its operands: that would be another request's data, or the end of the worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mprotect")


def test_every_case_runs_between_pages_that_are_not_mapped():
    done = subprocess.run([sys.executable, "guarded.py"], cwd=_FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("step", [-4096, 64])
def test_the_pages_end_a_process_that_leaves_its_operands(step: int):
    code = f"import guarded as g; g.ctypes.c_byte.from_address(g.guarded_bytes(64).ctypes.data + {step}).value"
    assert subprocess.run([sys.executable, "-c", code], cwd=_FOLDER, capture_output=True, check=False).returncode < 0
