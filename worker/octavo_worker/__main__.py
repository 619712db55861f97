"""The worker's process: started by the orchestrator, one per device.

Exit codes: 0 end, 2 wrong arguments, 3 a package is missing, 4 the device cannot be opened, 5 the connection broke.
Before 3 and 4 the last line of stderr is `octavo-error: CODE message`.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import shlex
import sys
from pathlib import Path
from typing import NoReturn

from . import lifeline
from .generated import environment

#: Of the table in `octavo_kernels.ErrorCode`; said where that package cannot be imported.
MISSING_DEPENDENCY = "OCTAVO_MISSING_DEPENDENCY"


def main() -> int:
    options = _arguments()
    token = os.environ.pop(environment.WORKER_TOKEN, "")
    faulthandler.enable(all_threads=False)  # A crash in native code then says in the log where it was.
    lifeline.ignore_signals()
    lifeline.hold_to_parent()
    if sys.version_info < (3, 10):
        return _fail(3, MISSING_DEPENDENCY, f"Python 3.10 or later is needed, this is {sys.version.split()[0]}")
    try:
        import octavo_kernels

        from . import __version__
        from .channel import Channel
        from .generated.messages import PROTOCOL_VERSION, Hello, Versions
        from .session import Session
        from .shared_memory import SharedFile
    except ImportError as error:
        return _fail(3, MISSING_DEPENDENCY, f"{error}; run: {sys.executable} -m pip install {_packages()}")
    try:
        backend = octavo_kernels.open_backend(options.backend, options.threads, options.isa, _index(options.device))
    except octavo_kernels.KernelError as error:
        return _fail(3 if error.code == MISSING_DEPENDENCY else 4, error.code, error.message)
    except ImportError as error:
        return _fail(3, MISSING_DEPENDENCY, f"the {options.backend} backend cannot be imported: {error}")
    session = Session(backend, options.device, options.epoch, SharedFile(options.shared_memory))
    channel = Channel(options.endpoint, options.max_frame)
    channel.greet(
        Hello(
            protocol=PROTOCOL_VERSION,
            token=token,
            pid=os.getpid(),
            versions=Versions(python=sys.version.split()[0], worker=__version__, kernels=octavo_kernels.__version__),
            description=session.description,
        )
    )
    channel.serve(session)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="octavo_worker", description=__doc__)
    parser.add_argument("--endpoint", required=True, help="the orchestrator's socket: ipc://... or tcp://127.0.0.1:...")
    parser.add_argument("--device", required=True, help="name of the device, for example cpu:0")
    parser.add_argument("--backend", required=True, help="cpu, cuda, reference or triton-interpreter")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--epoch", type=int, required=True, help="incarnation of the device's worker")
    parser.add_argument("--isa", help="force an instruction set")
    parser.add_argument("--shared-memory", type=int, help="inherited descriptor of the payload file")
    parser.add_argument("--max-frame", type=int, default=1 << 30, help="largest frame in bytes")
    return parser.parse_args()


def _index(device: str) -> int:
    """The number in a device's name: cuda:1 is the second GPU."""
    number = device.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def _packages() -> str:
    """Arguments of pip: the versions that were tested, where the package of npm or the repository has their list."""
    pinned = Path(__file__).parents[2] / "requirements" / "worker.txt"
    return f"--require-hashes -r {shlex.quote(str(pinned))}" if pinned.exists() else "numpy pyzmq msgspec"


def _fail(status: int, code: str, message: str) -> int:
    print(f"octavo-error: {code} {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def run() -> NoReturn:
    status = main()
    # Not sys.exit: libraries' threads and atexit handlers have nothing left to do here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
