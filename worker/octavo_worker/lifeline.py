"""A worker never outlives its orchestrator, however that one ends: memory of a device must not stay taken by nobody.
Of one on another machine the connection tells (dial.py).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")


def hold_to_parent() -> None:
    """End this process when the parent is gone. Two ways, because each misses cases of the other.

    The end of stdin comes on every platform, also when the parent was killed, but not while another process has a copy
    of the pipe. The death signal of Linux comes at once, but only for the thread that forked us.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_exit_at_end_of_stdin, name="lifeline", daemon=True).start()


def _exit_at_end_of_stdin() -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    # Not sys.exit: the main thread may be inside a kernel for seconds.
    os._exit(0)


def heed_signals(end: Callable[[], None]) -> None:
    """For a worker that somebody else has started: they decide. `end` runs in the main thread, between two steps.
    What they have made us ignore (nohup) stays ignored.
    """
    for name in _SIGNALS:
        number = getattr(signal, name, None)  # Windows has fewer.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: end())


def ignore_signals() -> None:
    """Ctrl-C, a closed terminal and a supervisor's SIGTERM reach the whole process group. What they mean is the
    orchestrator's decision: it may let us finish. When they end it, we end with it.
    """
    for name in _SIGNALS:
        if hasattr(signal, name):  # Windows has fewer.
            signal.signal(getattr(signal, name), signal.SIG_IGN)
