"""Compiles every launch of every case for every architecture: `python -m proofs.compile`.

All cores compile; a kernel that was compiled before, from the same sources, is not compiled again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from octavo_kernels.triton.ops import PLANS
from triton import knobs

from .build import build
from .cases import cases
from .context import PROCESSORS
from .entries import Entry, failed, plan
from .facts import Facts
from .specialize import Specialization, specialize
from .store import kept

_waiting: list[Specialization] = []


def main(path: Path) -> None:
    """Writes entries and facts to `path`, and a file for each compilation beside it; what is there is kept."""
    if path.exists():
        return
    started = time.perf_counter()
    entries, wanted = _plan_all()
    folder = path.parent / "facts"
    folder.mkdir(parents=True, exist_ok=True)
    _waiting.extend(one for one in wanted.values() if not (folder / f"{one.key}.json").exists())
    errors = {}
    for key, result in _build_all():
        if isinstance(result, Facts):
            _write(folder / f"{key}.json", dataclasses.asdict(result))
        else:
            errors[key] = result
    facts = {key: json.loads((folder / f"{key}.json").read_text()) for key in wanted if key not in errors}
    complete = [dataclasses.replace(one, error=errors.get(one.key, one.error)) for one in entries]
    for old in (*path.parent.glob("compiled-*.json"), *(one for one in folder.iterdir() if one.stem not in wanted)):
        old.unlink()
    _write(path, {"ops": sorted(PLANS), "entries": [dataclasses.asdict(one) for one in complete], "facts": facts})
    seconds = time.perf_counter() - started
    print(f"{len(entries)} launches, {len(wanted)} compilations, {len(_waiting)} of them new: {seconds:.0f} s")


def _plan_all() -> tuple[list[Entry], dict[str, Specialization]]:
    entries, wanted = [], {}
    for model, rows, case in cases():
        for architecture in PROCESSORS:
            try:
                for entry, launch in plan(model.name, rows, case, architecture):
                    one = specialize(launch, architecture)
                    wanted.setdefault(one.key, one)
                    entries.append(dataclasses.replace(entry, key=one.key))
            except Exception as error:
                entries.append(failed(model.name, rows, case, architecture, f"{type(error).__name__}: {error}"))
    return entries, wanted


def _build_all() -> Iterator[tuple[str, Facts | str]]:
    """(key, facts or error), as they come; forked, so that a process need not plan again."""
    if not _waiting:
        return
    with (
        tempfile.TemporaryDirectory() as scratch,
        contextlib.redirect_stdout(sys.stderr),
        multiprocessing.get_context("fork").Pool(os.cpu_count() or 1, _start, [scratch]) as pool,
    ):
        for done, (index, result) in enumerate(pool.imap_unordered(_build, range(len(_waiting))), 1):
            if sys.stderr.isatty():
                print(f"\r{done} of {len(_waiting)}", end="", flush=True)
            yield _waiting[index].key, result


def _start(scratch: str) -> None:
    knobs.cache.dir = os.path.join(scratch, str(os.getpid()))


def _build(index: int) -> tuple[int, Facts | str]:
    try:
        return index, build(_waiting[index])
    except Exception as error:
        return index, f"{type(error).__name__}: {str(error)[-2000:]}"


def _write(path: Path, data: object) -> None:
    """Whole or not at all: another process may write the same."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(data, file)
    os.replace(file.name, path)


if __name__ == "__main__":
    main(kept())
