"""A backend whose tensors are torch's, as on a GPU: the worker looks at no memory itself, and counts the device's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from octavo_kernels import Tensor, nbytes
from octavo_kernels.backend import DeviceMemory
from octavo_worker.generated import messages as wire
from octavo_worker.session import Session

from .conftest import EPOCH, Orchestrator, PlainBackend, shared_file


class DeviceBackend(PlainBackend):
    """Copies in and out, as a GPU's backend does."""

    name = "cuda"

    def allocate(self, dtype: str, layout: str, shape: Sequence[int]) -> Tensor:
        memory = torch.zeros(nbytes(dtype, layout, tuple(shape)), dtype=torch.uint8)
        return Tensor(dtype, layout, tuple(shape), memory)

    def write(self, tensor: Tensor, offset: int, size: int, fill: Callable[[np.ndarray], None]) -> None:
        content = np.empty(size, np.uint8)
        fill(content)
        tensor.memory[offset : offset + size] = torch.from_numpy(content)

    def read_range(self, tensor: Tensor, offset: int, size: int) -> np.ndarray:
        return tensor.memory[offset : offset + size].clone().numpy()

    def memory(self) -> DeviceMemory:
        return DeviceMemory(total=1000, used=300, context=100)


@pytest.fixture
def orchestrator(tmp_path: Path) -> Orchestrator:
    backend = DeviceBackend()
    session = Session(backend, "cuda:0", EPOCH, shared_file(tmp_path))  # type: ignore[arg-type]
    asking = Orchestrator(session, backend)
    asking.ask("welcome", protocol=wire.PROTOCOL_VERSION, functions=["operator:neg", "operator:iadd"])
    return asking


def test_the_plan_is_made_for_the_devices_memory_and_not_the_machines(orchestrator: Orchestrator) -> None:
    found = orchestrator.ask("describe").description
    assert (found.memoryTotal, found.memoryAvailable, found.baseline) == (1000, 700, 100)
    assert orchestrator.ask("stats").statistics.deviceUsed == 300


def test_bytes_go_in_and_out_by_frames_and_files(orchestrator: Orchestrator, tmp_path: Path) -> None:
    orchestrator.allocate(1, "int8", 8)
    file = tmp_path / "payloads"
    file.write_bytes(b"12345678")
    shared = {"offset": 0, "bytes": 8}
    orchestrator.ask("write", handle=1, offset=0, shared=shared)
    orchestrator.ask("write", b"ab", handle=1, offset=3)
    orchestrator.ask("read", handle=1, offset=1, bytes=5)
    assert orchestrator.payload() == b"23ab6"
    orchestrator.ask("read", handle=1, shared=shared)
    assert file.read_bytes() == b"123ab678"


def test_a_function_works_on_the_tensors_memory_and_its_result_is_a_handle(orchestrator: Orchestrator) -> None:
    orchestrator.allocate(1, "float32", 2)
    ones = np.ones(2, np.float32).tobytes()
    orchestrator.ask("write", ones, handle=1, offset=0)
    fields = {"options": [], "results": [5]}
    orchestrator.ask("call", function="operator:neg", handles=[1], **fields)
    orchestrator.ask("read", handle=5)
    assert np.frombuffer(orchestrator.payload(), np.float32).tolist() == [-1, -1]
    added = {"options": [], "results": [6]}
    assert not isinstance(orchestrator.ask("call", function="operator:iadd", handles=[1, 5], **added), wire.Error)
    orchestrator.ask("read", handle=1)
    assert np.frombuffer(orchestrator.payload(), np.float32).tolist() == [0, 0]
