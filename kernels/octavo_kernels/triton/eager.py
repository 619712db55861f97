"""One op of the table on torch tensors, without a program: what the PyTorch door calls.

On CUDA tensors the kernels are enqueued on torch's current stream; nothing waits for them and nothing is read back,
and memory comes from torch's allocator, so calls may be captured in a `torch.cuda.graph`. On CPU tensors they run in
Triton's interpreter. One process does the one or the other: Triton decides when the kernels are imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import torch

from ..errors import ErrorCode, KernelError
from ..generated.ops import OPS
from ..program.spec import AttributeValue, Operation
from ..validate.program import attributes_of
from . import interpreter, jit
from .launch import Launch, Operand

_OPS = f"{__name__.rpartition('.')[0]}.ops"


def run_op(
    name: str,
    inputs: Mapping[str, torch.Tensor | None],
    outputs: Mapping[str, torch.Tensor],
    attributes: Mapping[str, AttributeValue] | None = None,
    counters: torch.Tensor | None = None,
) -> None:
    """Compute an op into `outputs`; operands by the names of the op table, optional ones None or left out.

    All tensors are on one device, the stride of their last dimension is 1. A packed weight is row-major [N, K], an int8
    one with rows a multiple of 64 bytes apart, zero beyond K. `attributes` left out have the table's defaults.
    `counters`: int64 [2], gets elements with a carry and rows with NaN or Inf added.
    Shapes and dtypes are not checked here: the caller knows them. Raises KernelError OCTAVO_UNKNOWN_OP,
    OCTAVO_BAD_ARGUMENT, OCTAVO_WRONG_DEVICE.
    """
    prepare_op(name, inputs, outputs, attributes, counters)()


def prepare_op(
    name: str,
    inputs: Mapping[str, torch.Tensor | None],
    outputs: Mapping[str, torch.Tensor],
    attributes: Mapping[str, AttributeValue] | None = None,
    counters: torch.Tensor | None = None,
) -> Callable[[], None]:
    """What `run_op` does, planned once: the returned function launches the kernels on the same tensors each time.

    Scratch memory lives as long as it: one call must have run before the next on another stream.
    """
    if name not in OPS:
        raise KernelError(ErrorCode.UNKNOWN_OP, f"{name!r} is not an op of the table")
    given = {operand: tensor for operand, tensor in {**inputs, **outputs}.items() if tensor is not None}
    device = _device(name, given)
    # Before the kernels are imported, which decides how they run.
    launch = _launcher(device)
    from .ops import PLANS

    if name not in PLANS:
        raise KernelError(ErrorCode.BAD_ARGUMENT, f"{name} is what the ranks of a group do together")
    rows = _Rows(device)
    operands = {operand: Operand(tensor, rows.of(tensor.shape[0])) for operand, tensor in given.items()}
    context = EagerContext(device, counters)
    launches = PLANS[name](context, **operands, **attributes_of(name, Operation(name, {}, {}, dict(attributes or {}))))

    def run() -> None:
        for planned in launches:
            launch(planned)

    return run


class EagerContext:
    """See launch.Context; scratch is torch's memory, and may be given to others once the kernels are enqueued."""

    def __init__(self, device: torch.device, counters: torch.Tensor | None = None) -> None:
        self._device, self._counters = device, counters
        self.interpreted = device.type != "cuda"
        # The interpreter runs what an H100 would run.
        self.architecture, self.processors = 90, 132
        if not self.interpreted:
            found = torch.cuda.get_device_properties(device)
            self.architecture, self.processors = found.major * 10 + found.minor, found.multi_processor_count

    @property
    def counters(self) -> torch.Tensor:
        if self._counters is None:
            self._counters = torch.zeros(2, dtype=torch.int64, device=self._device)
        return self._counters

    def scratch(self, dtype: torch.dtype, *shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=self._device)

    def tickets(self, count: int) -> torch.Tensor:
        return torch.zeros(count, dtype=torch.int32, device=self._device)


class _Rows:
    """Row counts on the device, each made once per op, by a fill: a copy from the host could not be captured."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._made: dict[int, torch.Tensor] = {}

    def of(self, count: int) -> torch.Tensor:
        if count not in self._made:
            self._made[count] = torch.full((1,), count, dtype=torch.int32, device=self._device)
        return self._made[count]


def _device(name: str, tensors: Mapping[str, torch.Tensor]) -> torch.device:
    devices = {tensor.device for tensor in tensors.values()}
    if len(devices) != 1:
        text = f"{name}: its tensors are on {', '.join(sorted(map(str, devices))) or 'no device'}; they must be on one"
        raise KernelError(ErrorCode.WRONG_DEVICE, text)
    return devices.pop()


def _launcher(device: torch.device) -> Callable[[Launch], None]:
    if device.type == "cuda":
        if interpreter.enabled():
            text = "this process runs Triton's interpreter on CPU tensors; use CUDA tensors in another process"
            raise KernelError(ErrorCode.WRONG_DEVICE, text)
        return lambda launch: _on(device, launch)
    if device.type != "cpu":
        raise KernelError(ErrorCode.WRONG_DEVICE, f"the kernels run on cuda, and on cpu interpreted, not on {device}")
    if not interpreter.enabled() and _OPS in sys.modules:
        text = "this process runs the kernels on a GPU; use CPU tensors (Triton's interpreter) in another process"
        raise KernelError(ErrorCode.WRONG_DEVICE, text)
    interpreter.enable()
    return interpreter.run


def _on(device: torch.device, launch: Launch) -> None:
    with torch.cuda.device(device):
        jit.run(launch)
