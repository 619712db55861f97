"""No op reads or writes beyond its operands: that would be another request's data, or the end of the worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parent
#: The cases are none of the package's.
_WITH_PROOFS = {**os.environ, "PYTHONPATH": str(_FOLDER.parent)}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mprotect")


def test_every_case_runs_between_pages_that_are_not_mapped():
    done = _run("guarded.py")
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("step", [-4096, 64])
def test_the_pages_end_a_process_that_leaves_its_operands(step: int):
    code = f"import guarded as g; g.ctypes.c_byte.from_address(g.guarded_bytes(64).ctypes.data + {step}).value"
    assert _run("-c", code).returncode < 0


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=_FOLDER, env=_WITH_PROOFS, capture_output=True, text=True, check=False)
