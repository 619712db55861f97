"""What the orchestrator has written for a worker that dials in: ts/workers/launchers/connection-files.ts."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import msgspec

from .ranks import RANK, from_environment

_FORMAT = 1
_MAX_BYTES = 65536
_URL = re.compile(r"tcp://(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}")
_ANYWHERE = re.compile(r"tcp://(0\.0\.0\.0|\[::\]):")


class Unusable(Exception):
    """The file cannot be used; another try is of no use either."""


class NotThere(Exception):
    """There is no such file yet: the orchestrator may not have started."""


class ConnectionFile(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Keys are in Z85, 40 characters. `heartbeat_ms`: a silence of so long ends the connection, on both sides."""

    octavo: int
    url: str
    server_key: str
    public_key: str
    secret_key: str
    token: str
    device: str
    backend: str
    rank: int
    ranks: int
    heartbeat_ms: float
    max_frame: int

    def __repr__(self) -> str:  # Not its secrets, wherever it may be printed.
        return f"ConnectionFile({self.device}, rank {self.rank} of {self.ranks}, {self.url})"


def locate(keys: Path, rank: int | None) -> Path:
    """`keys` itself, or the file of this rank in the folder `keys`. Unusable when nothing says the rank."""
    if not keys.is_dir():
        return keys
    if rank is None:
        try:
            rank = from_environment(RANK)
        except ValueError as error:
            raise Unusable(str(error)) from error
    if rank is None:
        raise Unusable(
            f"{keys} is a folder, and none of {', '.join(RANK)} says which file is ours; give --rank, or the file"
        )
    return keys / f"worker-{rank}.json"


def read(path: Path, url: str | None = None) -> ConnectionFile:
    """`url`: in place of the file's. Raises Unusable and NotThere."""
    content = _bytes(path)
    try:
        found = msgspec.json.decode(content, type=ConnectionFile)
    except msgspec.DecodeError as error:
        raise Unusable(f"{path} is no connection file of this version: {error}") from error
    if found.octavo != _FORMAT:
        raise Unusable(f"{path} has format {found.octavo}, this worker reads {_FORMAT}: update both")
    if url is None and _ANYWHERE.match(found.url):
        text = f"the orchestrator listens at all addresses of its machine ({found.url}); say which: --connect tcp://HOST:PORT"
        raise Unusable(text)
    url = url or found.url
    if not _URL.fullmatch(url):
        raise Unusable(f"{url} is not an address to dial; write tcp://HOST:PORT")
    return msgspec.structs.replace(found, url=url)


def _bytes(path: Path) -> bytes:
    try:
        # A pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise NotThere(f"there is no {path}") from error
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    try:
        _check(path, os.fstat(descriptor))
        return os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unusable(f"{path} is not a regular file")
    if os.name != "posix":
        return
    if status.st_uid not in (os.geteuid(), 0):
        raise Unusable(f"{path} belongs to user {status.st_uid}, not to the one who runs this")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise Unusable(f"{path} has the mode 0{mode:o}: others can read its keys; it must be 0600")
