"""Weights from files into a device's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..backend import SourcePart
from ..errors import KernelError
from ..tensor import Tensor, allocate
from ..weights.load import check_load

#: Reads, dequantises and quantises into plain tensors of the machine's memory: (form, parts, target, scale).
HostLoad = Callable[[str, Sequence[SourcePart], Tensor, "Tensor | None"], None]


def host_load(threads: int) -> HostLoad:
    """The CPU library's, on `threads` threads; where it cannot be built, the slow one of `reference`: the same bits."""
    try:
        from ..cpu.library import available_isas, load_library
        from ..cpu.load import load as library_load

        load_library()
        isa = available_isas()[-1]
    except (KernelError, OSError):
        from ..reference.load import load as reference_load

        return reference_load
    return lambda form, parts, target, scale: library_load(form, parts, target, scale, isa=isa, threads=threads)


def load(
    host: HostLoad,
    put: Callable[[Tensor, Tensor], None],
    form: str,
    parts: Sequence[SourcePart],
    target: Tensor,
    scale: Tensor | None,
) -> None:
    """See backend.Backend.load. `put(target, content)`: a plain host tensor into one of the device."""
    check_load(form, parts, target, scale)
    content = allocate(target.dtype, "plain", target.shape)
    scales = None if scale is None or form != "int8" else allocate(scale.dtype, "plain", scale.shape)
    host(form, parts, content, scales)
    put(target, content)
    if scale is not None and scales is not None:
        put(scale, scales)
