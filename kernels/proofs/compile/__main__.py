"""Compiles every launch of every case for every architecture: `python -m proofs.compile`; of some ops with `--ops`.

All cores compile; a kernel that was compiled before, from the same sources, is not compiled again.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Set
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
    errors = _compile(wanted, folder)
    facts = {key: json.loads((folder / f"{key}.json").read_text()) for key in wanted if key not in errors}
    complete = [dataclasses.replace(one, error=errors.get(one.key, one.error)) for one in entries]
    for old in (*path.parent.glob("compiled-*.json"), *(one for one in folder.iterdir() if one.stem not in wanted)):
        old.unlink()
    _write(path, {"ops": sorted(PLANS), "entries": [dataclasses.asdict(one) for one in complete], "facts": facts})
    seconds = time.perf_counter() - started
    print(f"{len(entries)} launches, {len(wanted)} compilations, {len(_waiting)} of them new: {seconds:.0f} s")


def some(ops: Set[str], architectures: Set[int], path: Path) -> None:
    """The launches of some ops, for a look while one works on them; keeps what was compiled, for `main` too."""
    entries, wanted = _plan_all(ops, architectures)
    folder = path.parent / "facts"
    errors = _compile(wanted, folder)
    told = {}
    for one in entries:
        error = errors.get(one.key, one.error)
        if error:
            text = error
        else:
            facts = Facts.of(json.loads((folder / f"{one.key}.json").read_text()))
            text = f"{facts.registers} registers, {facts.shared} B shared, {facts.spill_stores} B spilled"
        told.setdefault((one.key, error), f"sm_{one.architecture} {one.op} {one.kernel} {one.constants}: {text}")
    print(*told.values(), sep="\n")


def _compile(wanted: Mapping[str, Specialization], folder: Path) -> dict[str, str]:
    """Compiles what has no file in the folder yet; errors by key."""
    folder.mkdir(parents=True, exist_ok=True)
    _waiting.extend(one for one in wanted.values() if not (folder / f"{one.key}.json").exists())
    errors = {}
    for key, result in _build_all():
        if isinstance(result, Facts):
            _write(folder / f"{key}.json", dataclasses.asdict(result))
        else:
            errors[key] = result
    return errors


def _plan_all(
    ops: Set[str] = frozenset(PLANS), architectures: Set[int] = frozenset(PROCESSORS)
) -> tuple[list[Entry], dict[str, Specialization]]:
    entries, wanted = [], {}
    for model, rows, case in cases():
        if case.op not in ops:
            continue
        for architecture in sorted(architectures):
            try:
                for entry, launch in plan(model, rows, case, architecture):
                    one = specialize(launch, architecture)
                    wanted.setdefault(one.key, one)
                    entries.append(dataclasses.replace(entry, key=one.key))
            except Exception as error:
                entries.append(failed(model, rows, case, architecture, f"{type(error).__name__}: {error}"))
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
    parser = argparse.ArgumentParser(prog="proofs.compile", description=__doc__)
    parser.add_argument("--ops", nargs="+", choices=sorted(PLANS), help="only these, and say what came out")
    parser.add_argument("--architectures", nargs="+", type=int, choices=PROCESSORS, help="with --ops: only these")
    given = parser.parse_args()
    if given.ops:
        some(set(given.ops), set(given.architectures or PROCESSORS), kept())
    else:
        main(kept())
