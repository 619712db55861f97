"""A defined program on a GPU or in the interpreter.

A step is one copy to the device, launches, one copy back and one wait. The launches of a capacity (`buckets.py`) are
planned once; from the second time on they are one captured graph (`plan.py`). All memory was allocated by `define`:
the workspace, which the programs of a device share; when a later `define` makes it larger, plans are made anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..backend import Counters
from ..bound import BoundProgram
from ..generated.ops import OPS
from ..generated.workspace import TICKET_BYTES
from ..program.scratch import scratch_of
from ..program.spec import Dimension, Handle, Operation, ProgramSpec, Sizes, resolve
from ..reference.finite import results_finite
from ..tensor import Reserve, Tensor, Tensors, nbytes, unlimited
from ..validate.places import written_root
from ..workspace import Workspace
from .buckets import Buckets, Capacity
from .device import Device
from .frame import Frame, Memories
from .measure import measure
from .meeting import Meetings
from .mirrors import KEPT_TO, Mirrors
from .plan import StepPlan
from .workspace import Cut, StepContext

if TYPE_CHECKING:
    from ..cpu.group import Group


class TritonExecutable(BoundProgram):
    """Holds the program and the tensors it names; made by the backend's `define` from a validated program."""

    def __init__(
        self,
        device: Device,
        mirrors: Mirrors,
        spec: ProgramSpec,
        tensors: Tensors,
        arena: Tensor | None,
        reserve: Reserve,
        group: Group | None,
    ) -> None:
        super().__init__(spec, tensors, arena, reserve)
        self._meetings = Meetings(spec, device, group)
        self._device, self._mirrors = device, mirrors
        written = _written(spec)
        self._written = {self._tensors[handle] for handle in written}
        self._mirrored = {index: self._tensors[handle] for handle, index in written.items() if _is_ids(spec, index)}
        self._returned = list(dict.fromkeys((*spec.outputs, *self._mirrored)))
        counting = [index for index, operation in enumerate(spec.ops) if _counts(operation)]
        self._slots = {index: slot for slot, index in enumerate(counting)}
        self._buckets = Buckets(spec)
        needs = measure(spec, device, self._buckets, self._returned, len(self._slots) + 1)
        scratch = scratch_of(spec, 1).scratch
        if needs.ops.bytes > scratch or 4 * needs.ops.count > TICKET_BYTES:
            text = (
                f"ops need {needs.ops.bytes} bytes and {needs.ops.count} tickets; protocol/workspace.ts says {scratch}"
            )
            raise RuntimeError(text)
        #: How it cuts the workspace.
        self.cut = Cut(scratch, needs.inputs, needs.outputs)
        #: See backend.Executable.
        self.launches = [0 if op in self._meetings.ops else count for op, count in enumerate(needs.launches)]
        self._plans: dict[Capacity, tuple[Frame, StepPlan]] = {}
        self._leave: list[Callable[[], None]] = []
        with device.current():
            for index in self._checks.values:  # Now, so that no step waits for them.
                place = spec.values[written_root(index, spec.values)].place
                if isinstance(place, Handle):
                    mirrors.keep(self._tensors[place.handle])

    def join(self, workspace: Workspace, host: Workspace, at_least: int) -> None:
        """Once, before the first step. `host`: of memory that the device copies from and to, unless its own is the
        host's. Raises KernelError OCTAVO_OUT_OF_MEMORY."""
        of_host = self._device.of_host
        pairs = [(workspace, max(at_least, self.cut.device_bytes(of_host)), self._reserve, self._moved)]
        if not of_host:
            pairs.append((host, self.cut.host_bytes, unlimited, self._host_moved))
        for one, size, reserve, moved in pairs:
            self._leave.append(partial(one.leave, one.join(size, reserve, moved)))

    def _moved(self, memory: torch.Tensor) -> None:
        self._plans.clear()
        tickets, scratch, inputs, outputs = self.cut.device(memory)
        self._context = StepContext(self._device, tickets, scratch)
        handles = {handle: tensor.memory for handle, tensor in self._tensors.items()}
        self._at = Memories(handles, None if self._arena is None else self._arena.memory, inputs, outputs)
        if self._device.of_host:
            self._host_moved(memory)

    def _host_moved(self, memory: torch.Tensor) -> None:
        self._plans.clear()
        self._to, self._back = self.cut.host(memory, self._device.of_host)

    def step(
        self, sizes: Sizes, payload: memoryview, profile: np.ndarray | None = None, nonfinite: np.ndarray | None = None
    ) -> tuple[np.ndarray, Counters]:
        began = time.perf_counter_ns()
        self._meetings.check()
        sizes, arrays = self._begin(sizes, payload)
        with self._device.current():
            self._checks.run(sizes, lambda value: self._array(value, sizes, arrays))
            for tensor in self._written:
                self._mirrors.forget(tensor)
            frame, plan = self._planned(self._buckets.fit(sizes))
            self._run(frame, plan, sizes, arrays, profile, nonfinite)
        outputs = frame.outputs
        for index, tensor in self._mirrored.items():
            self._mirrors.put(tensor, outputs.array(index, sizes).view(np.uint8))
        reply = self._reply.pack(sizes, [outputs.array(index, sizes) for index in self._spec.outputs], self._reserve)
        quantized, carries, bad = self._counted(sizes, outputs.counters)
        return reply, Counters(quantized, carries, bad, time.perf_counter_ns() - began)

    def close(self) -> None:
        if not self._closed:
            self._let_go()
            self._written, self._mirrored, self._plans = set(), {}, {}
            self._meetings = Meetings(self._spec, self._device, None)
            if self._leave:
                del self._context, self._to, self._back, self._at
            for leave in self._leave:
                leave()

    def _run(
        self,
        frame: Frame,
        plan: StepPlan,
        sizes: Sizes,
        arrays: Sequence[np.ndarray],
        profile: np.ndarray | None,
        nonfinite: np.ndarray | None,
    ) -> None:
        """The only wait is at the end, but for steps that look at what each op has written."""
        device, used = self._device, frame.inputs.fill(sizes, arrays)
        device.copy(self._at.inputs[:used], self._to[:used])
        marks = []
        if profile is None and nonfinite is None:
            plan.enqueue(sizes)
        else:
            marks = plan.enqueue_marked(sizes, lambda index: self._look(frame, sizes, index, nonfinite))
        used = frame.outputs.used(sizes)
        device.copy(self._back[:used], self._at.outputs[:used])
        device.synchronize()
        if profile is not None:
            profile[:] = [device.nanoseconds(start, end) for start, end in pairwise(marks)]

    def _look(self, frame: Frame, sizes: Sizes, index: int, nonfinite: np.ndarray | None) -> None:
        """After the launches of an op, and before those of the next."""
        if nonfinite is None:
            return
        self._device.synchronize()

        def view(value: int) -> torch.Tensor:
            return frame.view(value)[: resolve(values[value].shape[:1], sizes)[0]]

        values = self._spec.values
        nonfinite[index] = not results_finite(self._spec.ops[index], view)

    def _planned(self, capacity: Capacity) -> tuple[Frame, StepPlan]:
        found = self._plans.get(capacity)
        if found is None:
            frame = Frame(self._spec, capacity, self._returned, len(self._slots) + 1, self._at)
            ops = []
            for index, operation in enumerate(self._spec.ops):
                # An op that counts although nobody asks it to has the last slot.
                self._context.begin(frame.counters(self._slots.get(index, len(self._slots))))
                ops.append(frame.plan(self._context, operation))
            frame.inputs.attach(self._to.numpy())
            frame.outputs.attach(self._back.numpy())
            meetings = self._meetings.of(frame)
            plan = StepPlan(self._device, ops, frame.all_counters, frame.copies(), capacity.captured, meetings)
            found = self._plans[capacity] = frame, plan
        return found

    def _content(self, tensor: Tensor) -> np.ndarray:
        return self._mirrors.of(tensor)

    def _counted(self, sizes: Sizes, counters: np.ndarray) -> tuple[int, int, int]:
        quantized = carries = nonfinite = 0
        for index, slot in self._slots.items():
            carried, bad = counters[slot].tolist()
            nonfinite += bad
            if "carries" in self._spec.ops[index].outputs:
                rows, columns = resolve(_matrix(self._spec, index), sizes)
                quantized += (rows - bad) * columns
                carries += carried
        return quantized, carries, nonfinite


def _counts(operation: Operation) -> bool:
    """Whether what an op counts is asked for (see backend.Counters)."""
    return "carries" in operation.outputs or operation.op in ("sample", "score", "pool")


def _matrix(spec: ProgramSpec, operation: int) -> tuple[Dimension, ...]:
    """The shape of what an op quantises: its first input."""
    return spec.values[next(iter(spec.ops[operation].inputs.values()))].shape


def _written(spec: ProgramSpec) -> dict[int, int]:
    """Handles that a step writes to, each with a value that lies there."""
    found = {}
    for operation in spec.ops:
        table = OPS[operation.op]
        mutated = {name: index for name, index in operation.inputs.items() if table.inputs[name].mutated}
        for index in (*mutated.values(), *operation.outputs.values()):
            place = spec.values[index].place
            if isinstance(place, Handle):
                found[place.handle] = index
    return found


def _is_ids(spec: ProgramSpec, index: int) -> bool:
    """Whether later steps may be checked against what a step writes here: `sampled`, small and of a fixed size."""
    value = spec.values[index]
    sizes = [size for size in value.shape if isinstance(size, int)]
    fixed = len(sizes) == len(value.shape)
    return value.dtype == "int32" and fixed and nbytes(value.dtype, value.layout, tuple(sizes)) <= KEPT_TO
