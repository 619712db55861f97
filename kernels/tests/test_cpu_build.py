"""The CPU library is built by itself where a compiler is; a user without one must read what to do."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from octavo_kernels import KernelError, open_backend
from octavo_kernels.cpu import build


def test_each_machine_builds_its_own_instruction_sets():
    names = {machine: {path.name for path in build.units(machine)} for machine in ("x86_64", "aarch64", "riscv64")}
    assert {"isa_scalar.cpp", "isa_avx2.cpp", "isa_avx512.cpp"} <= names["x86_64"]
    assert {"isa_scalar.cpp", "isa_neon.cpp"} <= names["aarch64"]
    assert "isa_avx2.cpp" not in names["aarch64"]
    assert [name for name in names["riscv64"] if name.startswith("isa_")] == ["isa_scalar.cpp"]


def test_another_compiler_or_source_makes_another_library(tmp_path: Path):
    also = tmp_path / "more.cpp"
    also.write_text("int x;")
    first = build.digest(["c++"], [also])
    also.write_text("int y;")
    assert len({first, build.digest(["c++"], [also]), build.digest(["clang++"], [also])}) == 3


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    monkeypatch.setattr(build.sys, "executable", "/bin/false")
    with pytest.raises(KernelError, match="no C\\+\\+ compiler: install") as raised:
        build.compiler()
    assert raised.value.code == "OCTAVO_MISSING_DEPENDENCY"


def test_a_failed_build_shows_the_first_error_of_the_compiler(tmp_path: Path):
    with pytest.raises(KernelError, match="no_such_flag"):
        build.build_objects(["c++", "--no_such_flag"], tmp_path, "riscv64")


def test_an_instruction_set_that_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(KernelError, match="it has scalar") as raised:
        open_backend("cpu", 1, "avx1024")
    assert raised.value.code == "OCTAVO_BAD_ARGUMENT"
    monkeypatch.setenv("OCTAVO_CPU_ISA", "scalar")
    assert open_backend("cpu", 1).isa == "scalar"


def test_workers_that_start_together_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    built = []

    def slow_build(chosen: list[str], target: Path, machine: str) -> None:
        time.sleep(0.05)
        built.append(target)
        target.touch()

    for name in ("FOLDER", "_BESIDE"):
        monkeypatch.setattr(build, name, tmp_path / "build")
    monkeypatch.setattr(build, "_installed", lambda: None)
    monkeypatch.setattr(build, "_build", slow_build)
    with ThreadPoolExecutor(3) as pool:
        found = {path for path in pool.map(lambda _: build.library(), range(3))}
    assert found == set(built) and len(built) == 1


def test_a_read_only_package_builds_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert build.folder().parent == Path(build.__file__).parent
    monkeypatch.setattr(build.os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.folder() == tmp_path / "octavo"
