"""A session over a backend that is plain numpy memory, and a way to ask it things."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from octavo_kernels import Counters, ErrorCode, KernelError, ProgramSpec, SourcePart, Tensor
from octavo_kernels.host import HostMemory
from octavo_kernels.tensor import Reserve, aligned_bytes
from octavo_kernels.workspace import Workspace
from octavo_worker.codec import decode_request
from octavo_worker.generated import messages as wire
from octavo_worker.session import Session
from octavo_worker.shared_memory import SharedFile

EPOCH = 3


class Echo:
    """A program that returns its payload."""

    launches = None

    def __init__(self, workspace: Workspace, scratch: int, reserve: Reserve) -> None:
        self._workspace, self.closed = workspace, False
        self._ticket = workspace.join(scratch, reserve, self._moved)

    def _moved(self, memory: np.ndarray) -> None:
        pass

    def step(
        self,
        sizes: Mapping[str, int],
        payload: memoryview,
        times: np.ndarray | None = None,
        flags: np.ndarray | None = None,
    ):
        if sizes["T"] == 13:
            raise RuntimeError("a bug")
        if sizes["T"] == 14:
            raise KernelError(ErrorCode.WORKER_LOST, "the GPU failed", retryable=True)
        if times is not None:
            times[:] = 5
        if flags is not None:
            flags[sizes["T"] :] = 1  # from this op on
        return np.frombuffer(payload, np.uint8), Counters(1, 2, 3, 4)

    def close(self) -> None:
        self.closed = True
        self._workspace.leave(self._ticket)


class PlainBackend(HostMemory):
    """Memory, loads that fill with ones, and programs that echo."""

    name = "cpu"
    isa = "none"
    isas = ("none",)
    threads = 1
    model = "test"

    def __init__(self) -> None:
        self.programs: list[Echo] = []
        self.workspace = Workspace(aligned_bytes)
        #: Bytes of the workspace that each program needs.
        self.scratch = 0

    def load(self, form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
        if parts[0].file == "missing":
            raise KernelError(ErrorCode.FILE_NOT_READABLE, "missing: no such file")
        target.memory[:] = 1

    def read(self, tensor: Tensor) -> np.ndarray:
        return tensor.memory.copy()

    def define(
        self,
        spec: ProgramSpec,
        tensors: Mapping[int, Tensor],
        arena: Tensor | None,
        reserve: Reserve,
        workspace: int,
        group: object,
    ) -> Echo:
        self.programs.append(Echo(self.workspace, max(self.scratch, workspace), reserve))
        return self.programs[-1]


class Orchestrator:
    """Sends requests as bytes, like the real one, and keeps what is answered."""

    def __init__(self, session: Session, backend: PlainBackend) -> None:
        self.session = session
        self.backend = backend
        self.last_id = 0
        self.answers: list[tuple[Any, Any]] = []

    def ask(self, kind: str, *payloads: bytes, epoch: int = EPOCH, **fields: Any) -> Any:
        """The final answer; progress before it is in `answers`."""
        self.last_id += 1
        message = {"kind": kind, "id": self.last_id, "epoch": epoch, **fields}
        self.answers.clear()
        request = decode_request(msgspec.msgpack.encode(message))
        self.session.handle(request, payloads, lambda reply, payload: self.answers.append((reply, payload)))
        reply = self.answers[-1][0]
        assert reply.id == self.last_id
        assert all(isinstance(answer, wire.Progress) for answer, _ in self.answers[:-1])
        return reply

    def refusal(self, kind: str, *payloads: bytes, **fields: Any) -> str:
        """The code of the error that this request is answered with."""
        reply = self.ask(kind, *payloads, **fields)
        assert isinstance(reply, wire.Error), reply
        return reply.code

    def payload(self) -> bytes:
        return bytes(self.answers[-1][1])

    def allocate(self, handle: int, dtype: str, *shape: int) -> Any:
        return self.ask(
            "allocate", handles=[{"handle": handle, "dtype": dtype, "layout": "plain", "shape": list(shape)}]
        )

    def define(self, program: int, *uses: int) -> Any:
        values = [
            {"dtype": "float32", "layout": "plain", "shape": [], "place": {"type": "handle", "handle": h}} for h in uses
        ]
        ops = [{"op": "add", "inputs": [], "outputs": [], "attributes": []}] * 3
        return self.ask("define", program=program, limits=SIZES, values=values, ops=ops, inputs=[], outputs=[])


def shared_file(folder: Path) -> SharedFile:
    """Memory shared with a test, which sees it as the file `payloads`."""
    return SharedFile(os.open(folder / "payloads", os.O_RDWR | os.O_CREAT, 0o600))


SIZES = {"T": 0, "S": 0, "B": 0, "J": 0, "H": 0, "D": 0, "Q": 0}
#: All of a program but its handle.
EMPTY: dict[str, Any] = {"limits": SIZES, "values": [], "ops": [], "inputs": [], "outputs": []}


@pytest.fixture
def stranger(tmp_path: Path) -> Orchestrator:
    """Not welcomed yet."""
    backend = PlainBackend()
    session = Session(backend, "cpu:0", EPOCH, shared_file(tmp_path))  # type: ignore[arg-type]
    return Orchestrator(session, backend)


@pytest.fixture
def orchestrator(stranger: Orchestrator) -> Orchestrator:
    stranger.ask("welcome", protocol=wire.PROTOCOL_VERSION, functions=["math"])
    return stranger
