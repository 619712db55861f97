"""A real worker process behind its socket, asked as the orchestrator asks it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import zmq

EPOCH = 1
SHARED_BYTES = 1 << 16


class WorkerEnded(AssertionError):
    """The worker is gone, or says nothing any more."""


class WorkerProcess:
    """`memory`: bytes of addresses that the process may have, a net below its own bounds. `patience`: seconds for an
    answer; what takes longer hangs."""

    def __init__(self, isa: str, threads: int, memory: int | None = None, patience: float = 60) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.bind(f"ipc://{folder}/socket")
        self._log = (folder / "log").open("w+")
        command = [sys.executable, "-m", "octavo_worker", "--endpoint", f"ipc://{folder}/socket", "--device", "cpu:0"]
        options = ["--backend", "cpu", "--threads", str(threads), "--epoch", str(EPOCH), "--isa", isa]
        self._shared = shared = (folder / "shared").open("w+b")
        shared.truncate(SHARED_BYTES)
        limit = None if memory is None else lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        self._process = subprocess.Popen(
            [*command, *options, "--shared-memory", str(shared.fileno())],
            pass_fds=(shared.fileno(),),
            stdin=subprocess.PIPE,
            stderr=self._log,
            preexec_fn=limit,
        )
        self._patience, self._last = patience, 0
        self._identity, self.hello = self._receive(120)[:2]
        self.ask({"kind": "welcome", "protocol": msgspec.msgpack.decode(self.hello)["protocol"], "functions": []})

    def ask(self, message: dict[str, Any], *payloads: bytes) -> tuple[dict[str, Any], bytes]:
        """The answer and its payload. Raises WorkerEnded."""
        self._last += 1
        self.send(msgspec.msgpack.encode({**message, "id": self._last, "epoch": EPOCH}), *payloads)
        while True:
            _, answer, *content = self._receive(self._patience)
            reply = msgspec.msgpack.decode(answer)
            if reply["kind"] != "progress" and reply["id"] == self._last:
                return reply, content[0] if content else b""

    def clear_shared(self) -> None:
        """Zeros in the memory that is shared with it."""
        os.pwrite(self._shared.fileno(), bytes(SHARED_BYTES), 0)

    def send(self, header: bytes, *payloads: bytes) -> None:
        """Bytes as they are. One without an id gets no answer; `ask` passes over what comes before its own."""
        self._socket.send_multipart((self._identity, header, *payloads))

    def close(self) -> str:
        """End the process; what it wrote to stderr."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._context.destroy(linger=0)
        text = self._stderr()
        self._log.close()
        self._shared.close()
        self._folder.cleanup()
        return text

    def _receive(self, patience: float) -> list[bytes]:
        for _ in range(int(patience * 10)):
            if self._socket.poll(100):
                return self._socket.recv_multipart()
            if self._process.poll() is not None:
                raise WorkerEnded(f"the worker ended with {self._process.returncode}:\n{self._stderr()[-4000:]}")
        raise WorkerEnded(f"the worker said nothing for {patience} s")

    def _stderr(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return self._log.read()
