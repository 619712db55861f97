"""From the command line to a worker that serves: opens the device, says hello, waits for requests."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time

import octavo_kernels
from octavo_kernels import Backend, ErrorCode

from . import __version__, codec, connection_file, dial, lifeline, ranks
from .channel import Channel, Ended, connect
from .connection_file import ConnectionFile
from .generated.messages import PROTOCOL_VERSION, DeviceDescription, Hello, Versions
from .session import Session
from .shared_memory import SharedFile

# Seconds between two looks for a file that is not there yet.
_LOOK = 0.5


class Failed(Exception):
    """`status`: of the process."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def started(options: argparse.Namespace, token: str) -> None:
    """Serve the orchestrator that has started us. Raises Failed and KernelError."""
    backend = _open(options.backend, options.threads, options.isa, options.device)
    session = Session(backend, options.device, options.epoch, SharedFile(options.shared_memory))
    socket = connect(options.endpoint, options.max_frame, _hello(session.description, token))
    Channel(socket, options.max_frame).serve(session)


def dialled(options: argparse.Namespace) -> None:
    """Dial in to an orchestrator and serve it. Raises Failed and KernelError."""
    try:
        found = _await_file(options)
        backend = _open(found.backend, _threads(options.threads), options.isa, _device(options.device, found.backend))
    except (connection_file.Unusable, ValueError) as error:
        raise Failed(2, ErrorCode.BAD_ARGUMENT, str(error)) from error
    # Its payloads travel as frames: it has no memory in common with the orchestrator. The epoch comes with the welcome.
    session = Session(backend, found.device, 0, SharedFile(None))

    def hello(file: ConnectionFile) -> bytes:
        if (file.device, file.backend) != (found.device, found.backend):
            text = f"{options.keys} is of {file.device} now, and this worker has opened {found.device}: start it anew"
            raise connection_file.Unusable(text)
        return codec.encode(_hello(session.description, file.token))

    try:
        line = dial.dial(lambda: _read(options), hello, options.wait)
    except dial.NoEntry as error:
        raise Failed(6, ErrorCode.WORKER_START_FAILED, str(error)) from error
    except connection_file.Unusable as error:
        raise Failed(2, ErrorCode.BAD_ARGUMENT, str(error)) from error
    threading.Thread(target=dial.exit_when_gone, args=(line.monitor,), name="monitor", daemon=True).start()
    channel = Channel(line.socket, found.max_frame)
    session.join(line.epoch)
    channel.answer(session, line.welcome, [])
    dial.tell(f"serving {found.device} of {found.url} as rank {found.rank} of {found.ranks}")
    try:
        lifeline.heed_signals(channel.end)
        channel.serve(session)
    except Ended:
        pass  # Between these two lines.


def _read(options: argparse.Namespace) -> ConnectionFile:
    # Each time anew: also the folder may come later.
    return connection_file.read(connection_file.locate(options.keys, options.rank), options.connect)


def _await_file(options: argparse.Namespace) -> ConnectionFile:
    """The orchestrator may start later than we do."""
    wait = options.wait
    deadline = time.monotonic() + wait
    told = False
    while True:
        try:
            return _read(options)
        except connection_file.NotThere as error:
            if time.monotonic() >= deadline:
                text = f"{error}: no orchestrator has written it within {wait:g} s"
                raise Failed(6, ErrorCode.WORKER_START_FAILED, text) from error
            if not told:
                dial.tell(f"{error} yet; waiting up to {wait:g} s")
                told = True
            time.sleep(_LOOK)


def _device(given: str | None, backend: str) -> str:
    """Of this machine: the pool's cuda:9 may be our cuda:1. ValueError for one of another kind."""
    if given is None:
        return f"{backend}:{ranks.from_environment(ranks.LOCAL_RANK) or 0}"
    if given.partition(":")[0] != backend:
        raise ValueError(f"--device {given} is not of the kind that the orchestrator waits for: {backend}")
    return given


def _threads(given: int | None) -> int:
    return given or ranks.threads_here(ranks.from_environment(ranks.LOCAL_SIZE) or 1)


def _open(name: str, threads: int, isa: str | None, device: str) -> Backend:
    try:
        return octavo_kernels.open_backend(name, threads, isa, _index(device))
    except ImportError as error:
        text = f"the {name} backend cannot be imported: {error}"
        raise Failed(3, ErrorCode.MISSING_DEPENDENCY, text) from error


def _index(device: str) -> int:
    """The number in a device's name: cuda:1 is the second GPU."""
    number = device.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def _hello(description: DeviceDescription, token: str) -> Hello:
    versions = Versions(python=sys.version.split()[0], worker=__version__, kernels=octavo_kernels.__version__)
    return Hello(protocol=PROTOCOL_VERSION, token=token, pid=os.getpid(), versions=versions, description=description)
