"""The wheel holds what users run. If these fail, they install our proofs, or a product that does not start without them."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

KERNELS = Path(__file__).parents[1]
PRODUCT = (KERNELS / "octavo_kernels", KERNELS.parent / "worker" / "octavo_worker")


def imported(path: Path) -> set[str]:
    """First names of the modules that a file imports by their whole name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_the_product_imports_no_proof_and_no_test():
    files = [path for folder in PRODUCT for path in folder.rglob("*.py")]
    assert len(files) > 100
    assert not [str(path) for path in files if imported(path) & {"proofs", "tests", "conftest", "pytest"}]


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
