"""The command line: of a worker that the orchestrator starts (`--endpoint`), and of one that dials in (`--keys`)."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NoReturn

#: What the orchestrator says when it starts a worker, all of it.
_STARTED = ("endpoint", "device", "backend", "threads", "epoch")
_ONLY_STARTED = ("endpoint", "backend", "epoch", "shared_memory")
_ONLY_DIALS = ("connect", "rank", "wait")
_HERE = re.compile(r"(ipc://.+|tcp://127\.\d{1,3}\.\d{1,3}\.\d{1,3}:\d+)")
_WAIT = 300.0


def parse(description: str | None, arguments: list[str] | None = None) -> argparse.Namespace:
    """`keys` is None for a worker that the orchestrator has started. Exits with status 2."""
    parser = argparse.ArgumentParser(
        prog="octavo-worker", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    dials = parser.add_argument_group("a worker that dials in (docs/launchers.md)")
    dials.add_argument(
        "--keys",
        type=Path,
        help="connection file that the orchestrator has written, or their folder: then RANK, SLURM_PROCID, "
        "OMPI_COMM_WORLD_RANK or LWS_WORKER_INDEX says which",
    )
    dials.add_argument("--connect", metavar="URL", help="tcp://HOST:PORT, in place of the file's")
    dials.add_argument("--rank", type=_natural, help="in place of what the environment says")
    dials.add_argument("--wait", type=_seconds, help=f"seconds to try until welcomed; {_WAIT:g} by default")
    both = parser.add_argument_group("both")
    both.add_argument(
        "--device",
        help="for example cpu:0; when dialling in, by default the file's kind, with LOCAL_RANK as its number",
    )
    both.add_argument("--threads", type=_natural, help="when dialling in, by default CPUs by LOCAL_WORLD_SIZE")
    both.add_argument("--isa", help="force an instruction set")
    started = parser.add_argument_group("a worker that the orchestrator starts")
    started.add_argument("--endpoint", help="its socket: ipc://... or tcp://127.0.0.1:...")
    started.add_argument("--backend", help="cpu, cuda, reference or triton-interpreter")
    started.add_argument("--epoch", type=_natural, help="incarnation of the device's worker")
    started.add_argument("--shared-memory", type=_natural, help="inherited descriptor of the payload file")
    started.add_argument("--max-frame", type=int, default=1 << 30, help="largest frame in bytes")
    options = parser.parse_args(arguments)
    if options.keys is None:
        _check_started(parser, options)
    else:
        _refuse(parser, options, _ONLY_STARTED, "--keys")
        options.wait = _WAIT if options.wait is None else options.wait
    return options


def _check_started(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.endpoint is None:
        parser.error("--keys FILE is missing: the connection file that the orchestrator has written")
    _refuse(parser, options, _ONLY_DIALS, "--endpoint")
    for name in _STARTED:
        if getattr(options, name) is None:
            parser.error(f"--{name} is missing")
    if not _HERE.fullmatch(options.endpoint):
        parser.error(f"--endpoint {options.endpoint} is beyond this machine, where plain tcp is refused; use --keys")


def _refuse(parser: argparse.ArgumentParser, options: argparse.Namespace, names: tuple[str, ...], beside: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            parser.error(f"--{name.replace('_', '-')} has no meaning beside {beside}")


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        _bad(f"{text!r} is not a whole number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        _bad(f"{text!r} is not a number of seconds")
    if not 0 <= seconds <= 1e6:
        _bad(f"{text} is not between 0 and 1,000,000 seconds")
    return seconds


def _bad(text: str) -> NoReturn:
    raise argparse.ArgumentTypeError(text)
