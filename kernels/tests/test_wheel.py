"""The wheel holds what users run. Else they install our proofs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

KERNELS = Path(__file__).parents[1]


def test_the_wheel_holds_the_product_alone(tmp_path: Path):
    # A copy: setuptools leaves folders beside the sources.
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    source = shutil.copytree(KERNELS, tmp_path / "kernels", ignore=ignored)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('..'))"
    name = subprocess.run(
        [sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]
    packed = zipfile.ZipFile(tmp_path / name).namelist()
    assert {path.partition("/")[0].partition("-")[0] for path in packed} == {"octavo_kernels"}
    assert "octavo_kernels/triton/executable.py" in packed and "octavo_kernels/cpu/src/load/load.cpp" in packed
