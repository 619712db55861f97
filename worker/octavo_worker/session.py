"""What a worker does with each message: the closed set of kinds, each checked whole before any effect."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from msgspec import structs
from octavo_kernels import Backend, ErrorCode, KernelError, SourcePart, Tensor, nbytes, open_group
from octavo_kernels.generated.ops import BYTES_PER_ELEMENT
from octavo_kernels.tensor import PACKED_ROWS
from octavo_kernels.weights.load import check_load

from . import machine
from .definitions import program_spec, sizes, used_handles
from .functions import Functions, as_torch
from .generated import messages as wire
from .memory import WorkerMemory
from .shared_memory import SharedFile
from .tensors import DefinedProgram, Handles

# Of a thread of `load`, per element that it works on, at most: as it is in the file, as a float, as it will be.
_LOAD_BYTES = 8 + 4 + 2
# Seconds between two progress messages.
_PROGRESS_INTERVAL = 0.05

Payload = bytes | memoryview | np.ndarray
#: Sends one reply, with or without a payload frame.
Send = Callable[[wire.Reply, "Payload | None"], None]


@dataclass
class _Work:
    steps: int = 0
    step_time: int = 0


class Session:
    """The state of one worker. Not thread-safe."""

    def __init__(self, backend: Backend, device: str, epoch: int, shared: SharedFile) -> None:
        self._backend = backend
        self._epoch = epoch
        self._shared = shared
        self._handles = Handles()
        self._functions = Functions(backend)
        self._work = _Work()
        self._welcomed = False
        self._memory = WorkerMemory(backend, self._handles)
        self.ended = False
        self.description = wire.DeviceDescription(
            device=device,
            backend=backend.name,  # type: ignore[arg-type]
            isa=backend.isa,
            isas=tuple(backend.isas),
            threads=backend.threads,
            model=backend.model[:256],
            **self._memory.described(),
        )
        self._actions: dict[type, Callable] = {
            wire.Step: self._step,
            wire.Define: self._define,
            wire.Group: self._group,
            wire.Allocate: self._allocate,
            wire.Free: self._free,
            wire.Write: self._write,
            wire.Read: self._read,
            wire.Load: self._load,
            wire.Call: self._call,
            wire.Stats: self._stats,
            wire.Measure: self._measure,
            wire.Describe: self._describe,
            wire.Drain: self._nothing,
            wire.Bye: self._bye,
            wire.Welcome: self._welcome,
        }

    def handle(self, request: wire.Request, payloads: Sequence[bytes], send: Send) -> None:
        """Answer one request by exactly one `ok` or `error`. Never raises because of the request."""
        try:
            self._check(request)
            reply, payload = self._actions[type(request)](request, payloads, send)
        except KernelError as error:
            send(self._error(request.id, error), None)
            # The device failed for good. The pool sees this process end, and may start another.
            self.ended = self.ended or error.code == ErrorCode.WORKER_LOST
        except MemoryError as error:
            refused = KernelError(ErrorCode.OUT_OF_MEMORY, str(error) or "the system gave no memory")
            send(self._error(request.id, refused), None)
        except Exception as error:  # A bug, or a user's function: the worker lives on and says what happened.
            where = "".join(traceback.format_exception(error)[-4:])
            text = f"{type(error).__name__}: {error}\n{where}"
            send(self._error(request.id, KernelError(ErrorCode.WORKER_FAILED, text)), None)
        else:
            send(reply, payload)

    def join(self, epoch: int) -> None:
        """Be this incarnation, for an orchestrator that did not start us and so could not say it before."""
        self._epoch = epoch

    def refuse(self, identity: int, message: str, send: Send) -> None:
        """Answer a header that could not be understood."""
        send(self._error(identity, KernelError(ErrorCode.PROTOCOL, message)), None)

    def _check(self, request: wire.Request) -> None:
        if request.epoch != self._epoch:
            text = f"a message for epoch {request.epoch} reached the worker of epoch {self._epoch}"
            raise KernelError(ErrorCode.PROTOCOL, text)
        if not self._welcomed and not isinstance(request, wire.Welcome):
            raise KernelError(ErrorCode.PROTOCOL, "the first message must be welcome")

    def _error(self, identity: int, error: KernelError) -> wire.Error:
        text = error.message[:65536]
        return wire.Error(id=identity, epoch=self._epoch, code=error.code, message=text, retryable=error.retryable)

    def _ok(self, request: wire.Request) -> tuple[wire.Ok, None]:
        return wire.Ok(id=request.id, epoch=self._epoch), None

    def _welcome(self, request: wire.Welcome, payloads: Sequence[bytes], send: Send):
        if request.protocol != wire.PROTOCOL_VERSION:
            text = (
                f"the orchestrator speaks protocol {request.protocol}, this worker {wire.PROTOCOL_VERSION}: update both"
            )
            raise KernelError(ErrorCode.PROTOCOL, text)
        self._functions.allow(request.functions)
        self._welcomed = True
        return self._ok(request)

    def _describe(self, request: wire.Describe, payloads: Sequence[bytes], send: Send):
        # The orchestrator and this worker may share a container, and it reads a model while the worker starts.
        available = self._memory.described()["memoryAvailable"]
        self.description = structs.replace(self.description, memoryAvailable=available)
        return wire.Ok(id=request.id, epoch=self._epoch, description=self.description), None

    def _allocate(self, request: wire.Allocate, payloads: Sequence[bytes], send: Send):
        self._handles.check_new([item.handle for item in request.handles])
        wanted = sum(nbytes(item.dtype, item.layout, item.shape) for item in request.handles)
        self._memory.reserve(wanted)
        tensors = [self._backend.allocate(item.dtype, item.layout, item.shape) for item in request.handles]
        for item, tensor in zip(request.handles, tensors, strict=True):
            self._handles.add(item.handle, tensor)
        taken = sum(tensor.memory.nbytes for tensor in tensors)
        return wire.Ok(id=request.id, epoch=self._epoch, bytes=taken), None

    def _load(self, request: wire.Load, payloads: Sequence[bytes], send: Send):
        jobs = []
        for item in request.items:
            scale = None if item.scale is wire.UNSET else self._handles.tensor(item.scale)
            parts = [_source_part(part) for part in item.parts]
            jobs.append((item.form, parts, self._handles.tensor(item.handle), scale))
        for job in jobs:
            check_load(*job)
        most = max(_at_once(parts, target) for _, parts, target, _ in jobs)
        self._memory.reserve(self._backend.threads * most * _LOAD_BYTES)
        total = sum(_bytes(parts) for _, parts, _, _ in jobs)
        done, told = 0, time.monotonic()
        for form, parts, target, scale in jobs:
            self._backend.load(form, parts, target, scale)
            done += _bytes(parts)
            if time.monotonic() - told >= _PROGRESS_INTERVAL:
                told = time.monotonic()
                send(wire.Progress(id=request.id, epoch=self._epoch, done=done, total=total), None)
        taken = sum(t.memory.nbytes for _, _, target, scale in jobs for t in (target, scale) if t is not None)
        return wire.Ok(id=request.id, epoch=self._epoch, bytes=taken), None

    def _write(self, request: wire.Write, payloads: Sequence[bytes], send: Send):
        tensor = self._handles.tensor(request.handle)
        if tensor.layout != "plain":
            text = f"handle {request.handle} is packed; only load and quantize_weight write packed weights"
            raise KernelError(ErrorCode.DTYPE_MISMATCH, text)
        shared = None if request.shared is wire.UNSET else request.shared
        size = shared.bytes if shared else len(_one(payloads))
        content = _content_bytes(tensor)
        if request.offset + size > content:
            text = f"{size} bytes at offset {request.offset} do not fit handle {request.handle} of {content} bytes"
            raise KernelError(ErrorCode.SHAPE_MISMATCH, text)

        def fill(target: np.ndarray) -> None:
            if shared:
                self._shared.read_into(shared, target)
            else:
                target[:] = np.frombuffer(_one(payloads), np.uint8)

        self._backend.write(tensor, request.offset, size, fill)
        return self._ok(request)

    def _read(self, request: wire.Read, payloads: Sequence[bytes], send: Send):
        tensor = self._handles.tensor(request.handle)
        if tensor.layout == "plain":
            content = self._backend.read_range(tensor, *_range(request, tensor))
        elif request.offset is wire.UNSET and request.bytes is wire.UNSET:
            self._memory.reserve(_content_bytes(tensor))
            content = self._backend.read(tensor)
        else:
            raise KernelError(ErrorCode.DTYPE_MISMATCH, f"handle {request.handle} is packed; it is read as a whole")
        reply = wire.Ok(id=request.id, epoch=self._epoch, bytes=content.nbytes)
        if request.shared is wire.UNSET:
            return reply, content
        self._shared.write_from(content, request.shared)
        return reply, None

    def _free(self, request: wire.Free, payloads: Sequence[bytes], send: Send):
        self._handles.free(request.handles)
        return wire.Ok(id=request.id, epoch=self._epoch, workspace=self._backend.workspace.bytes), None

    def _group(self, request: wire.Group, payloads: Sequence[bytes], send: Send):
        self._handles.check_new([request.group])
        if request.rank >= request.ranks:
            raise KernelError(ErrorCode.BAD_ARGUMENT, f"rank {request.rank} of a group of {request.ranks}")
        memory = self._shared.map(request.shared)
        stages = 1 if request.stages is wire.UNSET else request.stages
        group = open_group(memory, request.rank, request.ranks, request.deadlineMs, stages)
        self._handles.add_group(request.group, group)
        return self._ok(request)

    def _define(self, request: wire.Define, payloads: Sequence[bytes], send: Send):
        self._handles.check_new([request.program])
        arena = None if request.arena is wire.UNSET else request.arena
        spec = program_spec(request)
        memory = None if arena is None else self._handles.tensor(arena)
        group = None if request.group is wire.UNSET else request.group
        ranks = None if group is None else self._handles.group(group)
        uses = used_handles(spec, arena, group)
        at_least = 0 if request.workspace is wire.UNSET else request.workspace
        executable = self._backend.define(spec, self._handles.tensors, memory, self._memory.reserve, at_least, ranks)
        self._handles.add_program(request.program, DefinedProgram(executable, uses, len(spec.ops)))
        reply = wire.Ok(id=request.id, epoch=self._epoch, workspace=self._backend.workspace.bytes)
        if executable.launches is not None:
            reply = structs.replace(reply, launches=tuple(executable.launches))
        return reply, None

    def _step(self, request: wire.Step, payloads: Sequence[bytes], send: Send):
        program = self._handles.program(request.program)
        payload = payloads[0] if payloads else b""
        times = np.zeros(program.operations, np.int64) if request.profile is True else None
        flags = np.zeros(program.operations, np.int64) if request.check is True else None
        outputs, counted = program.executable.step(sizes(request.sizes), memoryview(payload), times, flags)
        self._work.steps += 1
        self._work.step_time += counted.nanoseconds
        counters = wire.Counters(
            quantized=counted.quantized,
            carries=counted.carries,
            nonfinite=counted.nonfinite,
            nanoseconds=counted.nanoseconds,
        )
        reply = wire.Ok(id=request.id, epoch=self._epoch, counters=counters)
        if times is not None:
            reply = structs.replace(reply, profile=tuple(times.tolist()))
        if flags is not None and flags.any():
            reply = structs.replace(reply, nonfinite=int(flags.argmax()))
        return reply, outputs

    def _call(self, request: wire.Call, payloads: Sequence[bytes], send: Send):
        self._handles.check_new(request.results)
        arguments = [self._handles.tensor(handle) for handle in request.handles]
        results = self._functions.call(request.function, arguments, request.options)
        if len(results) > len(request.results):
            text = f"{request.function} returned {len(results)} tensors; at most {len(request.results)} can be taken"
            raise KernelError(ErrorCode.BAD_ARGUMENT, text)
        tensors = [self._own(result) for result in results]
        made = []
        for handle, tensor in zip(request.results, tensors, strict=False):
            self._handles.add(handle, tensor)
            made.append(
                wire.Allocation(handle=handle, dtype=tensor.dtype, layout="plain", shape=tensor.shape)  # type: ignore[arg-type]
            )
        return wire.Ok(id=request.id, epoch=self._epoch, results=tuple(made)), None

    def _own(self, result) -> Tensor:
        """A copy of a torch tensor in memory of the backend, so that every handle is aligned and counted alike."""
        import torch

        dtype = str(result.dtype).removeprefix("torch.")
        tensor = self._backend.allocate(dtype, "plain", tuple(result.shape))
        content = result.reshape(-1).view(torch.uint8)
        as_torch(self._backend, tensor, torch).reshape(-1).view(torch.uint8).copy_(content)
        return tensor

    def _stats(self, request: wire.Stats, payloads: Sequence[bytes], send: Send):
        memory, device = machine.process_memory(), self._backend.memory()
        statistics = wire.Statistics(
            resident=memory.resident,
            anonymous=memory.anonymous,
            handleBytes=self._memory.given,
            handleResident=self._memory.resident(),
            handles=len(self._handles),
            steps=self._work.steps,
            stepTime=self._work.step_time,
            deviceUsed=wire.UNSET if device is None else device.used,
        )
        return wire.Ok(id=request.id, epoch=self._epoch, statistics=statistics), None

    def _measure(self, request: wire.Measure, payloads: Sequence[bytes], send: Send):
        found = self._backend.measure()
        ceiling = wire.Ceiling(
            readBytes=found.read_bytes, int8Operations=found.int8_operations, float32Operations=found.float32_operations
        )
        return wire.Ok(id=request.id, epoch=self._epoch, ceiling=ceiling), None

    def _nothing(self, request: wire.Drain, payloads: Sequence[bytes], send: Send):
        return self._ok(request)  # Messages are served in order: all before it are done.

    def _bye(self, request: wire.Bye, payloads: Sequence[bytes], send: Send):
        self.ended = True
        return self._ok(request)


def _source_part(part: wire.SourcePart) -> SourcePart:
    name = "" if part.name is wire.UNSET else part.name
    rows = None if part.rowRange is wire.UNSET else part.rowRange
    columns = None if part.columnRange is wire.UNSET else part.columnRange
    return SourcePart(part.file, part.offset, part.bytes, part.type, part.rows, part.columns, name, rows, columns)  # type: ignore[arg-type]


def _bytes(parts: Sequence[SourcePart]) -> int:
    """Of the rows taken: `bytesOf` of ts/tensor/load.ts counts progress alike."""
    return sum(part.bytes // max(1, part.rows) * len(part.taken_rows) for part in parts)


def _one(payloads: Sequence[bytes]) -> bytes:
    if len(payloads) != 1:
        raise KernelError(ErrorCode.PROTOCOL, f"{len(payloads)} payload frames where one is needed")
    return payloads[0]


def _at_once(parts: Sequence[SourcePart], target: Tensor) -> int:
    """Elements that a thread of `load` works on: some rows of a matrix, as long as in the file, all of a vector."""
    if len(target.shape) < 2:
        return prod(target.shape)
    *rows, columns = target.shape
    # Of rows that are cut, one more is there in full as floats.
    cut = max((part.columns for part in parts if part.columns != columns), default=0)
    return min(prod(rows), PACKED_ROWS) * max(columns, cut) + cut


def _range(request: wire.Read, tensor: Tensor) -> tuple[int, int]:
    """First byte and number of bytes."""
    content = _content_bytes(tensor)
    offset = 0 if request.offset is wire.UNSET else request.offset
    size = max(0, content - offset) if request.bytes is wire.UNSET else request.bytes
    if offset + size > content:
        text = f"{size} bytes from offset {offset} are not in handle {request.handle} of {content} bytes"
        raise KernelError(ErrorCode.SHAPE_MISMATCH, text)
    return offset, size


def _content_bytes(tensor: Tensor) -> int:
    return BYTES_PER_ELEMENT[tensor.dtype] * prod(tensor.shape)
