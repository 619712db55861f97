"""Builds the CPU library: `python -m octavo_kernels.cpu.build`. Also called at the first use, when it is not there.

The library's name holds a hash of its sources, its flags and its compiler, so a stale one is never loaded and switching
between two states of the sources builds each once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import KernelError

SOURCES = Path(__file__).parent / "src"
_BESIDE = Path(__file__).parent / "build"


def folder() -> Path:
    """Where the library is built: beside its sources, or in the user's cache where they are read-only."""
    if os.access(_BESIDE if _BESIDE.exists() else _BESIDE.parent, os.W_OK):
        return _BESIDE
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "octavo"


FOLDER = folder()

# No -march=native and no fast-math: equal bits everywhere. Explicit fma only, hence -ffp-contract=off. The warnings
# that are off come from gcc 12's own AVX-512 headers.
_FLAGS = [
    "-std=c++17",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fPIC",
    "-Wall",
    "-Wextra",
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
]
_X86 = {
    "isa_avx2.cpp": ["-mavx2", "-mfma", "-mf16c"],
    "isa_avx512.cpp": [
        *("-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"),
        "-mprefer-vector-width=512",
    ],
}
_ARM: dict[str, list[str]] = {"isa_neon.cpp": [], "isa_dotprod.cpp": ["-march=armv8.2-a+dotprod"]}


def units(machine: str) -> dict[Path, list[str]]:
    """The translation units for a machine (`platform.machine()`), each with its own flags."""
    own = {**_X86, **_ARM}
    wanted = _X86 if machine in ("x86_64", "AMD64") else _ARM if machine in ("aarch64", "arm64") else {}
    files = [path for path in sorted(SOURCES.rglob("*.cpp")) if path.name not in own or path.name in wanted]
    return {path: wanted.get(path.name, []) for path in files}


def compiler() -> list[str]:
    """$CXX, or the first of c++, g++ and clang++, or the `ziglang` package's. Raises KernelError when there is none."""
    if os.environ.get("CXX"):
        return os.environ["CXX"].split()
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    probe = subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True, check=False)
    if probe.returncode == 0:
        return [sys.executable, "-m", "ziglang", "c++", "-mcpu=baseline"]  # else it compiles for this very processor
    text = "no C++ compiler: install g++ or clang++, or `pip install ziglang`, or set CXX"
    raise KernelError("OCTAVO_MISSING_DEPENDENCY", text)


def library() -> Path:
    """The library for the sources as they are, built if need be. Raises KernelError."""
    found = _installed()
    if found is not None:
        return found
    chosen = compiler()
    target = FOLDER / f"liboctavo-{digest(chosen)}.so"
    for built in (target, _BESIDE / target.name):
        if built.exists():
            return built
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _lock(FOLDER / "lock"):
        if not target.exists():  # else another process built it while we waited
            name = "zig" if "ziglang" in chosen else chosen[0]
            print(f"octavo: building the CPU library with {name} (once, half a minute)", file=sys.stderr)
            _build(chosen, target, platform.machine())
    return target


def _installed() -> Path | None:
    """In a package without sources or where no compiler is wanted: the library that setup left beside them."""
    shipped = sorted(Path(__file__).parent.glob("liboctavo*.so"))
    return shipped[0] if shipped else None


def digest(chosen: list[str], also: Sequence[Path] = ()) -> str:
    """Of the sources, of further ones, of the flags and of the compiler."""
    found = hashlib.sha256()
    for path in sorted(path for path in SOURCES.rglob("*") if path.suffix in (".h", ".cpp")):
        found.update(path.relative_to(SOURCES).as_posix().encode() + b"\0" + path.read_bytes())
    for path in also:
        found.update(path.read_bytes())
    program = shutil.which(chosen[0])
    version = os.stat(program)[stat.ST_MTIME] if program else 0  # cheaper than asking it, which costs 0.1 s
    found.update(repr((chosen, version, _FLAGS, _X86, _ARM, platform.machine())).encode())
    return found.hexdigest()[:16]


def _build(chosen: list[str], target: Path, machine: str) -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        objects = build_objects(chosen, Path(folder), machine)
        part = Path(folder) / target.name
        _run([*chosen, "-shared", "-pthread", *map(str, objects), "-o", str(part)])
        os.replace(part, target)
    for old in FOLDER.glob("liboctavo-*.so"):
        if old != target:
            old.unlink(missing_ok=True)  # a process that runs it keeps it


def build_objects(chosen: list[str], folder: Path, machine: str) -> list[Path]:
    """Compile the units of `machine` into `folder`, as many at once as there are cores."""

    def build(item: tuple[int, tuple[Path, list[str]]]) -> Path:
        number, (source, flags) = item
        target = folder / f"{number}.o"
        _run([*chosen, *_FLAGS, *flags, "-I", str(SOURCES), "-c", str(source), "-o", str(target)])
        return target

    # The largest first, so that none is left for the end.
    jobs = sorted(units(machine).items(), key=lambda unit: not unit[0].name.startswith("isa_"))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(build, enumerate(jobs)))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        text = f"building the CPU library failed: {' '.join(command)}\n{done.stderr[:4000]}"
        raise KernelError("OCTAVO_MISSING_DEPENDENCY", text)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time."""
    import fcntl

    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Build and say where the library lies."""
    try:
        path = library()
    except KernelError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 1
    print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
