"""A backend whose programs run in the driver process (`driver.cpp`), under an emulator."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from octavo_kernels import Backend, Ceiling, ErrorCode, KernelError, ProgramSpec, SourcePart, Tensor
from octavo_kernels.cpu import build
from octavo_kernels.cpu import library as abi
from octavo_kernels.cpu.executable import CpuExecutable, scratch_bytes
from octavo_kernels.cpu.group import Group
from octavo_kernels.generated.ops import SIZES
from octavo_kernels.host import HostMemory
from octavo_kernels.program.payload import PayloadLayout
from octavo_kernels.program.scratch import scratch_of
from octavo_kernels.tensor import Reserve, aligned_bytes, unlimited
from octavo_kernels.validate.program import validate
from octavo_kernels.workspace import Workspace

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
_DRIVER = Path(__file__).with_name("driver.cpp")
_REGION_SHIFT = 48


def missing_tools() -> list[str]:
    """What this machine lacks for emulating aarch64."""
    return [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]


def build_driver() -> Path:
    """The driver for aarch64, linked statically; kept beside the library until a source changes."""
    build.FOLDER.mkdir(parents=True, exist_ok=True)
    target = build.FOLDER / f"driver-aarch64-{build.digest([_DRIVER])}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=build.FOLDER) as folder:
        objects = build.build_objects([COMPILER], Path(folder), "aarch64")
        part = Path(folder) / "driver"
        source = ["-std=c++17", "-O2", "-I", str(build.SOURCES), str(_DRIVER)]
        command = [COMPILER, *source, *map(str, objects), "-static", "-pthread", "-o", str(part)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        part.replace(target)
    for old in build.FOLDER.glob("driver-aarch64-*"):
        if old != target:
            old.unlink(missing_ok=True)
    return target


class EmulatedBackend(HostMemory):
    """`host` fills memory; programs run on the emulated processor."""

    def __init__(self, host: Backend, isa: str, threads: int) -> None:
        self.name, self.isa, self.isas, self.threads, self.model = "cpu", isa, [isa], threads, "emulated"
        self._host, self.workspace = host, Workspace(aligned_bytes)
        command = [EMULATOR, str(build_driver()), isa, str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def load(self, form: str, parts: Sequence[SourcePart], target: Tensor, scale: Tensor | None) -> None:
        self._host.load(form, parts, target, scale)

    def read(self, tensor: Tensor) -> np.ndarray:
        return self._host.read(tensor)

    def measure(self) -> Ceiling:
        raise KernelError(ErrorCode.BAD_ARGUMENT, "an emulator has no speed")

    def define(
        self,
        spec: ProgramSpec,
        tensors: Mapping[int, Tensor],
        arena: Tensor | None,
        reserve: Reserve = unlimited,
        workspace: int = 0,
        group: Group | None = None,
    ) -> CpuExecutable:
        if group is not None:
            raise KernelError(ErrorCode.BAD_ARGUMENT, "the emulated process has none of a group's memory")
        complete = validate(spec, tensors, 0 if arena is None else arena.memory.size)
        memories = [tensor.memory for tensor in (*tensors.values(), arena) if tensor is not None]
        scratch = scratch_of(complete, self.threads)
        library: Any = _DriverLibrary(self._process, complete, memories, scratch_bytes(scratch, self.threads))
        executable = CpuExecutable(library, 1, complete, tensors, arena, scratch.thread, reserve, None)
        executable.join(self.workspace, 0)  # The driver has its own.
        return executable

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class _DriverLibrary:
    """Looks like the library to CpuExecutable, for one program."""

    def __init__(
        self, process: subprocess.Popen[bytes], spec: ProgramSpec, memories: list[np.ndarray], workspace: int
    ) -> None:
        self._process, self._spec, self._memories, self._workspace = process, spec, memories, workspace

    def octavo_define(self, context: int, reference, thread_bytes: int, group: None) -> int:
        self._thread_bytes = thread_bytes
        spec: abi.SpecStruct = reference._obj
        values = (abi.ValueStruct * spec.value_count)(*spec.values[: spec.value_count])
        for value in values:
            if value.memory:
                value.memory = self._region_of(value.memory)
        self._values = bytes(values)
        self._operations = b"".join(bytes(operation) for operation in spec.operations[: spec.operation_count])
        self._lists = np.array([*spec.inputs[: spec.input_count], *spec.outputs[: spec.output_count]], np.int32)
        return 1

    def octavo_step(
        self,
        program: int,
        workspace: None,
        sizes,
        payload: int,
        reply: int,
        counters,
        profile: int | None,
        nonfinite: int | None,
    ) -> int:
        spec = self._spec
        named: dict[str, int] = dict(zip(SIZES, sizes, strict=True))
        payload_bytes, reply_bytes = (PayloadLayout(spec, ids).bytes(named) for ids in (spec.inputs, spec.outputs))
        counts = [len(spec.values), len(spec.ops), len(spec.inputs), len(spec.outputs), len(self._memories)]
        scratch = [self._thread_bytes, self._workspace]
        header = [*counts, *scratch, payload_bytes, reply_bytes, *sizes, *(spec.limits[size] for size in SIZES)]
        region_sizes = [memory.size for memory in self._memories]
        to, back = self._process.stdin, self._process.stdout
        assert to is not None and back is not None
        to.write(np.array(header, np.int64).tobytes() + self._values + self._operations + self._lists.tobytes())
        to.write(np.array(region_sizes, np.int64).tobytes())
        for memory in self._memories:
            to.write(memory.tobytes())
        to.write(ctypes.string_at(payload, payload_bytes))
        to.flush()
        answered = back.read(ctypes.sizeof(abi.CountersStruct))
        assert answered, "the driver ended; see its message above"
        ctypes.memmove(counters, answered, len(answered))
        ctypes.memmove(reply, back.read(reply_bytes), reply_bytes)
        for memory in self._memories:
            memory[:] = np.frombuffer(back.read(memory.size), np.uint8)
        return 0

    def octavo_release(self, program: int) -> None:
        pass

    def _region_of(self, address: int) -> int:
        for index, memory in enumerate(self._memories):
            if 0 <= address - memory.ctypes.data < memory.size:
                return (index + 1 << _REGION_SHIFT) + address - memory.ctypes.data
        raise AssertionError("a value outside all memory")
