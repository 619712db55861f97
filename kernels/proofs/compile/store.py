"""Compiles everything once, and keeps what was found until a source changes.

`load` is for any process, also one with Triton's interpreter: the compiling is done by another
(`python -m proofs.compile`).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from ..programs.folder import path as program_path
from .entries import Entry
from .facts import Facts
from .models import MODELS

_PACKAGE_NAME = __name__.rpartition(".")[0]
_ROOT = Path(__file__).parents[2]
_KERNELS = _ROOT / "octavo_kernels"
FOLDER = Path(__file__).parents[1] / "build"


@dataclass(frozen=True)
class Compiled:
    """All launches, and what is known of each compilation by its key."""

    entries: list[Entry]
    facts: dict[str, Facts]
    #: The ops that have kernels.
    ops: list[str]

    @cached_property
    def by_step(self) -> dict[tuple[str, int, int], list[Entry]]:
        """The launches that were compiled, by model, rows and architecture, in order."""
        found: dict[tuple[str, int, int], list[Entry]] = {}
        for one in self.entries:
            if one.key in self.facts:
                found.setdefault((one.model, one.rows, one.architecture), []).append(one)
        return found


def digest() -> str:
    """Of all sources that kernels, plans and their reading are made of, and of the programs that are planned."""
    folders = (_KERNELS / "triton", Path(__file__).parent, FOLDER.parent / "programs")
    sources = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    whole = hashlib.sha256()
    programs = [program_path(model.name) for model in MODELS]
    for path in [*sources, *programs, _KERNELS / "generated/ops.py"]:
        whole.update(path.relative_to(_ROOT).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()[:24]


def kept() -> Path:
    """Where everything that is compiled from the sources as they are lies, once it is."""
    return FOLDER / f"compiled-{digest()}.json"


@cache
def load() -> Compiled:
    """All launches and facts; compiles what is missing, which takes minutes after a change of many kernels."""
    path = kept()
    if not path.exists():
        # The interpreter, once enabled here, would be inherited.
        environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        # An empty entry means the current folder.
        given = environment.get("PYTHONPATH", "").split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, given)])
        subprocess.run([sys.executable, "-m", _PACKAGE_NAME], env=environment, check=True)
    data = json.loads(path.read_text())
    entries = [Entry.of(one) for one in data["entries"]]
    return Compiled(entries, {key: Facts.of(one) for key, one in data["facts"].items()}, data["ops"])
