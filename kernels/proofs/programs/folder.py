"""Where exported programs are. Where Node is, they are written anew when a source has changed; else they must be there.

`python -m proofs.programs.folder` writes them: a machine without Node is given the folder (`make gpu-check` there).
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from functools import cache
from pathlib import Path

from .file import Program, read

_ROOT = Path(__file__).parents[3]
FOLDER = Path(__file__).parents[1] / "build/programs"
#: The published configurations of models at whose sizes kernels are compiled and counted.
MODELS = Path(__file__).parents[1] / "models"
_SCRIPT = _ROOT / "test/support/export-programs.ts"
_NODE = _ROOT / "node_modules/.bin/tsx"


@cache
def exported(name: str) -> Program:
    """The program of this name; see `path`."""
    return read(path(name))


def path(name: str) -> Path:
    """Raises FileNotFoundError that says what is missing."""
    found = _folder() / f"{name}.json"
    if not found.exists():
        raise FileNotFoundError(_missing(name))
    return found


def _missing(name: str) -> str:
    return (
        f"{FOLDER} has no exported program {name}, and there is no Node to write it ({_NODE}): "
        "run `python -m proofs.programs.folder` where Node is, and bring the folder"
        if not _NODE.exists()
        else f"{_SCRIPT} writes no program {name}"
    )


def names(start: str = "") -> list[str]:
    """All programs whose names begin so. Raises FileNotFoundError if there is none."""
    found = sorted(one.stem for one in _folder().glob(f"{start}*.json"))
    if not found:
        raise FileNotFoundError(_missing(f"{start}*"))
    return found


@cache
def _folder() -> Path:
    """Once per process: the programs as the sources write them, where there is Node."""
    if not _NODE.exists():
        return FOLDER
    FOLDER.mkdir(parents=True, exist_ok=True)
    stamp, digest = FOLDER / "digest", _digest()
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != digest:
            for old in FOLDER.glob("*.json"):
                old.unlink()
            subprocess.run([_NODE, _SCRIPT, FOLDER], cwd=_ROOT, check=True)
            stamp.write_text(digest)
    return FOLDER


def _digest() -> str:
    sources = [one for folder in ("ts", "protocol") for one in (_ROOT / folder).rglob("*.ts")]
    sources += [*MODELS.glob("*.json"), *(_ROOT / "test/support").glob("*.ts")]
    whole = hashlib.sha256()
    for one in sorted(one for one in sources if not one.name.endswith(".test.ts")):
        whole.update(one.relative_to(_ROOT).as_posix().encode() + one.read_bytes())
    return whole.hexdigest()


if __name__ == "__main__":
    print(f"{len(names())} programs in {FOLDER}")
