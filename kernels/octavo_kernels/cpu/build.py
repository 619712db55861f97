"""Builds the CPU library: `python -m octavo_kernels.cpu.build`. Also called at the first use, when it is not there.

The library's name holds a hash of its sources and flags, so a stale one is never loaded, and the compiler, of which
nothing is needed once it is built: an image of Docker can build in one stage and run in another.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ..errors import ErrorCode, KernelError
from ..generated import environment

SOURCES = Path(__file__).parent / "src"
_BESIDE = Path(__file__).parent / "build"


def folder() -> Path:
    """Where the library is built: beside its sources, or in the user's cache where they are read-only."""
    if os.access(_BESIDE if _BESIDE.exists() else _BESIDE.parent, os.W_OK):
        return _BESIDE
    return Path(os.environ.get(environment.XDG_CACHE_HOME) or Path.home() / ".cache") / "octavo"


FOLDER = folder()

# No -march=native and no fast-math: equal bits everywhere. Explicit fma only, hence -ffp-contract=off. The warnings
# that are off come from gcc 12's own AVX-512 headers.
_FLAGS = [
    *("-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fPIC"),
    *("-Wall", "-Wextra", "-Wno-uninitialized", "-Wno-maybe-uninitialized"),
]
# For tools/sanitize.sh: the first finds reads and writes outside memory and undefined behaviour, the second data races.
_SANITIZERS = {
    "": [],
    "address": [
        *("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g1", "-O1"),
    ],
    "thread": ["-fsanitize=thread", "-fno-omit-frame-pointer", "-g1", "-O1"],
}
_SANITIZE = _SANITIZERS[os.environ.get(environment.CPU_SANITIZE, "")]
_FLAGS += _SANITIZE
_AVX2 = ["-mavx2", "-mfma", "-mf16c"]
_AVX512 = [
    *(*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mprefer-vector-width=512"),
]
_AMX_UNIT = "isa_amx.cpp"
_X86 = {
    "isa_avx2.cpp": _AVX2,
    "isa_avx512.cpp": _AVX512,
    _AMX_UNIT: [*_AVX512, "-mamx-tile", "-mamx-int8"],
}
_ARM: dict[str, list[str]] = {"isa_neon.cpp": [], "isa_dotprod.cpp": ["-march=armv8.2-a+dotprod"]}


# One instruction of tiles, for compilers and assemblers that may not know it.
_AMX_PROBE = """
#include <immintrin.h>
void multiply() { _tile_dpbssd(0, 1, 2); }
"""


def units(machine: str, amx: bool = True) -> dict[Path, list[str]]:
    """The translation units for a machine (`platform.machine()`), each with its own flags; `amx`: with tiles too."""
    own = {**_X86, **_ARM}
    x86 = {name: flags for name, flags in _X86.items() if amx or name != _AMX_UNIT}
    wanted = x86 if machine in ("x86_64", "AMD64") else _ARM if machine in ("aarch64", "arm64") else {}
    files = [path for path in sorted(SOURCES.rglob("*.cpp")) if path.name not in own or path.name in wanted]
    told = ["-DHAS_AMX"] if _AMX_UNIT in wanted else []
    return {path: [*told, *wanted.get(path.name, [])] for path in files}


def knows_amx(chosen: Sequence[str], folder: Path) -> bool:
    """Whether a compiler of x86 makes code with tiles: GCC from 11 on and clang from 12 on, with their assemblers."""
    source, target = folder / "amx.cpp", folder / "amx.o"
    source.write_text(_AMX_PROBE)
    command = [*chosen, *_FLAGS, *_X86[_AMX_UNIT], "-c", str(source), "-o", str(target)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return True  # what is wrong with the compiler, its first unit will tell


def compiler() -> list[str]:
    """$CXX, or the first of c++, g++ and clang++, or the `ziglang` package's. Raises KernelError when there is none."""
    if os.environ.get(environment.CXX):
        return os.environ[environment.CXX].split()
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    # Not `-m ziglang`: before Python 3.11 that may execute files of the current folder.
    package = importlib.util.find_spec("ziglang")
    for folder in (package and package.submodule_search_locations) or ():
        zig = os.path.join(folder, "zig")
        if os.access(zig, os.X_OK):
            return [zig, "c++", "-mcpu=baseline"]  # else it compiles for this very processor
    text = "no C++ compiler: install g++ or clang++, or `pip install ziglang`, or set CXX"
    raise KernelError(ErrorCode.MISSING_DEPENDENCY, text)


# Libraries that stay in a folder: a few states of the sources, or versions of the package.
_KEPT = 8
# Start of the names of folders that hold what is being compiled.
_BUILDING = "building-"


def library() -> Path:
    """The library for the sources as they are, built if need be, which stderr then tells. Raises KernelError."""
    found = _shipped() or _built()
    if found is not None:
        return found
    chosen = compiler()
    FOLDER.mkdir(parents=True, exist_ok=True)
    target = FOLDER / f"{_prefix()}{_label(chosen)}.so"
    with _lock(FOLDER / "lock"):
        if not target.exists():  # else another process built it while we waited
            for left in FOLDER.glob(f"{_BUILDING}*"):  # by a build that was killed
                shutil.rmtree(left, ignore_errors=True)
            _build(chosen, target, platform.machine())
    return target


def _shipped() -> Path | None:
    """In a package without sources: the library that lies beside them."""
    return next(iter(sorted(Path(__file__).parent.glob("liboctavo*.so"))), None)


def _built() -> Path | None:
    """A library of these sources, by the compiler that $CXX names or else by any: the bits do not depend on it."""
    wanted = f"{_label(compiler())}.so" if os.environ.get(environment.CXX) else "*.so"
    found = [path for folder in (FOLDER, _BESIDE) for path in sorted(folder.glob(f"{_prefix()}{wanted}"))]
    return next(iter(found), None)


def _prefix() -> str:
    return f"liboctavo-{digest()}-"


def _label(chosen: Sequence[str]) -> str:
    """A compiler's part of a file name."""
    command = "zig" if chosen[0].endswith(os.path.join("ziglang", "zig")) else " ".join(chosen)
    plain = re.sub(r"[^A-Za-z0-9+]+", "-", command).strip("-")
    return plain if len(plain) <= 32 else hashlib.sha256(command.encode()).hexdigest()[:16]


def digest(also: Sequence[Path] = ()) -> str:
    """Of the sources, of further ones and of the flags."""
    found = hashlib.sha256()
    for path in sorted(path for path in SOURCES.rglob("*") if path.suffix in (".h", ".cpp")):
        found.update(path.relative_to(SOURCES).as_posix().encode() + b"\0" + path.read_bytes())
    for path in also:
        found.update(path.read_bytes())
    found.update(repr((_FLAGS, _X86, _ARM, platform.machine())).encode())
    return found.hexdigest()[:16]


def _build(chosen: list[str], target: Path, machine: str) -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=_BUILDING) as folder:
        objects = build_objects(chosen, Path(folder), machine, _tell)
        part = Path(folder) / target.name
        _run([*chosen, *_SANITIZE, "-shared", "-pthread", *map(str, objects), "-o", str(part)])
        os.replace(part, target)
    # Other versions and branches may use this folder too. A process that runs an old one keeps it.
    for old in sorted(FOLDER.glob("liboctavo-*.so"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        old.unlink(missing_ok=True)


def build_objects(
    chosen: list[str], folder: Path, machine: str, tell: Callable[[int, int], None] = lambda done, total: None
) -> list[Path]:
    """Compile the units of `machine` into `folder`, as many at once as there are cores.

    `tell` is called with the number of units done and of all, also at the start.
    """
    # The largest first, so that none is left for the end.
    amx = _AMX_UNIT in {path.name for path in units(machine)} and knows_amx(chosen, folder)
    jobs = sorted(units(machine, amx).items(), key=lambda unit: not unit[0].name.startswith("isa_"))

    def build(item: tuple[int, tuple[Path, list[str]]]) -> Path:
        number, (source, flags) = item
        target = folder / f"{number}.o"
        _run([*chosen, *_FLAGS, *flags, "-I", str(SOURCES), "-c", str(source), "-o", str(target)])
        return target

    tell(0, len(jobs))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        running = [pool.submit(build, job) for job in enumerate(jobs)]
        for done, _ in enumerate(as_completed(running), 1):
            tell(done, len(jobs))
    return [job.result() for job in running]


def _tell(done: int, total: int) -> None:
    """A line that Node reads as well (ts/workers/launchers/local.ts)."""
    print(f"octavo-progress: compiling the CPU kernels, {done} of {total} files", file=sys.stderr, flush=True)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        text = f"the C++ compiler {command[0]!r} does not run ({error.strerror}): install it, or set CXX to another"
        raise KernelError(ErrorCode.MISSING_DEPENDENCY, text) from error
    if done.returncode != 0:
        text = f"building the CPU library failed: {' '.join(command)}\n{done.stderr[:4000]}"
        raise KernelError(ErrorCode.MISSING_DEPENDENCY, text)


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
