"""The CPU library is built by itself where a compiler is; a user without one must read what to do."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from octavo_kernels import KernelError, open_backend
from octavo_kernels.cpu import build
from octavo_kernels.cpu.library import available_isas


def test_each_machine_builds_its_own_instruction_sets():
    names = {machine: {path.name for path in build.units(machine)} for machine in ("x86_64", "aarch64", "riscv64")}
    assert {"isa_scalar.cpp", "isa_avx2.cpp", "isa_avx512.cpp", "isa_amx.cpp"} <= names["x86_64"]
    assert {"isa_scalar.cpp", "isa_neon.cpp"} <= names["aarch64"]
    assert "isa_avx2.cpp" not in names["aarch64"]
    assert [name for name in names["riscv64"] if name.startswith("isa_")] == ["isa_scalar.cpp"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="tiles are x86's")
def test_a_compiler_without_tiles_builds_the_other_instruction_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """GCC before 11, or an assembler that is older than its compiler."""
    old = tmp_path / "old-compiler"
    old.write_text('#!/bin/sh\ncase "$*" in *-mamx*) echo unrecognized option >&2; exit 1;; esac\nexec c++ "$@"\n')
    old.chmod(0o755)
    assert build.knows_amx(["c++"], tmp_path) and not build.knows_amx([str(old)], tmp_path)
    compiled: list[str] = []
    monkeypatch.setattr(build, "_run", lambda command: compiled.append(" ".join(command)))
    build.build_objects([str(old)], tmp_path, "x86_64")
    assert any("isa_avx512.cpp" in command for command in compiled)
    assert not any("isa_amx.cpp" in command or "HAS_AMX" in command for command in compiled)


def test_another_source_makes_another_library(tmp_path: Path):
    also = tmp_path / "more.cpp"
    also.write_text("int x;")
    first = build.digest([also])
    also.write_text("int y;")
    assert first != build.digest([also])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one for libraries."""
    folder = tmp_path / "build"
    for name in ("FOLDER", "_BESIDE"):
        monkeypatch.setattr(build, name, folder)
    monkeypatch.setattr(build, "_shipped", lambda: None)
    monkeypatch.delenv("CXX", raising=False)
    return folder


@pytest.fixture
def quick_build(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is built, in order; a fake compiler makes empty files."""
    built: list[Path] = []

    def compile_slowly(chosen: list[str], target: Path, machine: str) -> None:
        time.sleep(0.05)
        built.append(target)
        target.touch()

    monkeypatch.setattr(build, "_build", compile_slowly)
    return built


def test_a_built_library_is_found_where_no_compiler_is(quick_build: list[Path], monkeypatch: pytest.MonkeyPatch):
    """An image that is built in two stages starts workers without a compiler."""
    path = build.library()
    monkeypatch.setattr(build, "compiler", lambda: pytest.fail("a compiler was looked for"))
    assert build.library() == path
    assert quick_build == [path]


def test_a_compiler_that_was_chosen_is_used(quick_build: list[Path], monkeypatch: pytest.MonkeyPatch):
    first = build.library()
    monkeypatch.setenv("CXX", "clang++ -stdlib=libc++")
    second = build.library()
    assert quick_build == [first, second]
    assert build.library() == second and second.name.endswith("-clang++-stdlib-libc++.so")


def test_a_compiler_that_does_not_run_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(KernelError, match="'no-such-compiler' does not run") as raised:
        build.library()
    assert raised.value.code == "OCTAVO_MISSING_DEPENDENCY"


def test_versions_do_not_delete_each_others_libraries(folder: Path, monkeypatch: pytest.MonkeyPatch):
    folder.mkdir()
    for age in range(12):
        other = folder / f"liboctavo-{age:x}-c++.so"
        other.touch()
        os.utime(other, (1000 - age, 1000 - age))
    monkeypatch.setattr(build, "build_objects", lambda *rest: [])
    monkeypatch.setattr(build, "_run", lambda command: Path(command[-1]).touch())
    path = build.library()
    left = {file.name for file in folder.glob("*.so")}
    assert path.name in left and len(left) == 8
    assert {f"liboctavo-{age:x}-c++.so" for age in range(7)} <= left


def test_who_waits_for_a_build_sees_how_far_it_is(tmp_path: Path):
    told: list[tuple[int, int]] = []
    with pytest.raises(KernelError):
        build.build_objects(["false"], tmp_path, "riscv64", lambda done, total: told.append((done, total)))
    total = len(build.units("riscv64"))
    assert told == [(done, total) for done in range(total + 1)]


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(KernelError, match="no C\\+\\+ compiler: install") as raised:
        build.compiler()
    assert raised.value.code == "OCTAVO_MISSING_DEPENDENCY"


def test_zig_is_found_in_its_package_and_nothing_of_python_is_executed_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`-m ziglang` would execute what lies in the current folder before Python 3.11."""
    package = tmp_path / "ziglang"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('executed')")
    (package / "zig").touch(mode=0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(build.subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert build.compiler() == [str(package / "zig"), "c++", "-mcpu=baseline"]


def test_a_failed_build_shows_the_first_error_of_the_compiler(tmp_path: Path):
    with pytest.raises(KernelError, match="no_such_flag"):
        build.build_objects(["c++", "--no_such_flag"], tmp_path, "riscv64")


def test_an_instruction_set_that_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(KernelError, match="it has scalar") as raised:
        open_backend("cpu", 1, "avx1024")
    assert raised.value.code == "OCTAVO_BAD_ARGUMENT"
    monkeypatch.setenv("OCTAVO_ISA", "scalar")
    assert open_backend("cpu", 1).isa == "scalar"


_SMALL_SIGNAL_STACK = """
import ctypes
from octavo_kernels.cpu.library import available_isas

class Stack(ctypes.Structure):
    _fields_ = [("memory", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

memory = ctypes.create_string_buffer(4096)
stack = Stack(ctypes.addressof(memory), 0, 4096)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
print(*available_isas())
"""


@pytest.mark.skipif("amx" not in available_isas(), reason="no tiles here")
def test_a_process_that_may_not_use_tiles_runs_without_them():
    """Linux refuses tiles where a stack for signals could not hold them, and so may a container."""
    command = [sys.executable, "-c", _SMALL_SIGNAL_STACK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [isa for isa in available_isas() if isa != "amx"]


def test_the_former_name_of_a_variable_is_not_overlooked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OCTAVO_CPU_ISA", "scalar")
    with pytest.raises(KernelError, match="OCTAVO_CPU_ISA is now OCTAVO_ISA"):
        open_backend("cpu", 1)


def test_workers_that_start_together_build_once(quick_build: list[Path]):
    with ThreadPoolExecutor(3) as pool:
        found = {path for path in pool.map(lambda _: build.library(), range(3))}
    assert found == set(quick_build) and len(quick_build) == 1


def test_a_read_only_package_builds_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert build.folder().parent == Path(build.__file__).parent
    monkeypatch.setattr(build.os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.folder() == tmp_path / "octavo"
