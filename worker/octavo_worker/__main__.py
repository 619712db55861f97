"""The worker's process: one per device. The orchestrator starts it, or somebody else does and it dials in.

Exit codes: 0 end, 2 wrong arguments, 3 a package is missing, 4 the device cannot be opened, 5 the connection broke,
6 not welcomed. Before 3, 4 and 6 the last line of stderr is `octavo-error: CODE message`.
"""

from __future__ import annotations

import faulthandler
import os
import shlex
import sys
from pathlib import Path
from typing import NoReturn

from . import arguments, lifeline
from .generated import environment

#: Of the table in `octavo_kernels.ErrorCode`; said where that package cannot be imported.
MISSING_DEPENDENCY = "OCTAVO_MISSING_DEPENDENCY"


def main() -> int:
    options = arguments.parse(__doc__)
    token = os.environ.pop(environment.WORKER_TOKEN, "")
    faulthandler.enable(all_threads=False)  # A crash in native code then says in the log where it was.
    if options.keys is None:
        lifeline.ignore_signals()
        lifeline.hold_to_parent()
    else:
        lifeline.heed_signals(lambda: os._exit(0))
        _set_libraries()
    if sys.version_info < (3, 10):
        return _fail(3, MISSING_DEPENDENCY, f"Python 3.10 or later is needed, this is {sys.version.split()[0]}")
    try:
        import octavo_kernels

        from . import start
    except ImportError as error:
        return _fail(3, MISSING_DEPENDENCY, f"{error}; run: {sys.executable} -m pip install {_packages()}")
    try:
        if options.keys is None:
            start.started(options, token)
        else:
            start.dialled(options)
    except start.Failed as failure:
        return _fail(failure.status, failure.code, failure.message)
    except octavo_kernels.KernelError as error:
        return _fail(3 if error.code == MISSING_DEPENDENCY else 4, error.code, error.message)
    return 0


def _set_libraries() -> None:
    """As `workerEnvironment` of ts/python.ts does for the workers that it starts, where nobody has said otherwise."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


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
