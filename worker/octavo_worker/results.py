"""What a user's function may return, as tensors that handles can hold. What converts without loss is converted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from octavo_kernels import ErrorCode, KernelError
from octavo_kernels.generated.ops import DTYPES

#: Kinds that one of these holds exactly, whatever the values.
_WIDER = {
    "bool": "int8",
    "uint8": "int32",
    "uint16": "int32",
    "uint32": "int64",
    "float8_e4m3fn": "float16",
    "float8_e5m2": "float16",
}
#: Kinds that one of these holds exactly if the values allow it.
_NARROWER = {"float64": "float32", "uint64": "int64"}
_ACCEPTED = (
    "a function returns None, a tensor, or a list or tuple of them; a tensor is a torch.Tensor, a numpy array, or a "
    f"Python bool, int or float, of {', '.join(DTYPES)}; bool becomes int8, uint8 and uint16 become int32, "
    "uint32 becomes int64, and float64 becomes float32 and uint64 int64 where every value is exactly the same there"
)


def tensors_of(name: str, result: object, torch: Any) -> list[Any]:
    """The results of the function `name` as contiguous torch tensors of dtypes that handles hold.

    Raises KernelError OCTAVO_DTYPE_MISMATCH for what is none of these, with what is accepted.
    """
    return [_tensor(name, item, torch) for item in _listed(result)]


def _listed(result: object) -> Sequence[object]:
    if result is None:
        return ()
    # Named tuples too: torch.topk and its like return them.
    return result if isinstance(result, (list, tuple)) else (result,)


def _tensor(name: str, item: Any, torch: Any) -> Any:
    if isinstance(item, (bool, int, float)) and not isinstance(item, np.generic):
        item = np.asarray(item)  # a Python number; int beyond 64 bits has dtype object and is refused below
    if isinstance(item, np.generic) or type(item) is np.ndarray:
        return _from_numpy(name, np.asarray(item), torch)
    if not isinstance(item, torch.Tensor):
        raise _refused(name, f"a {type(item).__name__}")
    kind = str(item.dtype).removeprefix("torch.")
    if item.layout is not torch.strided or item.is_quantized:
        raise _refused(name, f"a tensor with the layout {item.layout}" if not item.is_quantized else f"a {kind} tensor")
    if item.device.type == "meta":
        raise _refused(name, "a tensor without memory (device meta)")
    if item.dim() > 8:
        raise _refused(name, f"a tensor of rank {item.dim()}; handles have at most 8 dimensions")
    item = item.detach().resolve_conj().resolve_neg()
    wanted = kind if kind in DTYPES else _WIDER.get(kind) or _NARROWER.get(kind)
    if wanted is None:
        raise _refused(name, f"a tensor of {kind}")
    held = item.to(getattr(torch, wanted)).contiguous()
    if kind == "float64" and not bool(((held.double() == item) | item.isnan()).all()):
        raise _inexact(name, kind, wanted)
    if kind == "uint64" and not bool((held >= 0).all()):
        raise _inexact(name, kind, wanted)
    return held


def _from_numpy(name: str, array: np.ndarray, torch: Any) -> Any:
    kind = array.dtype.name
    if array.ndim > 8:
        raise _refused(name, f"an array of rank {array.ndim}; handles have at most 8 dimensions")
    wanted = kind if kind in DTYPES else _WIDER.get(kind) or _NARROWER.get(kind)
    if wanted is None or array.dtype.fields is not None:
        raise _refused(name, f"an array of {kind}")
    with np.errstate(over="ignore"):
        held = np.array(array, np.dtype(wanted), order="C")  # a copy of its own, in this machine's byte order
    if kind == "float64" and not ((held.astype(np.float64) == array) | np.isnan(array)).all():
        raise _inexact(name, kind, wanted)
    if kind == "uint64" and not (held >= 0).all():
        raise _inexact(name, kind, wanted)
    return torch.from_numpy(held)


def _refused(name: str, what: str) -> KernelError:
    return KernelError(ErrorCode.DTYPE_MISMATCH, f"{name} returned {what}, which a handle cannot hold: {_ACCEPTED}")


def _inexact(name: str, kind: str, wanted: str) -> KernelError:
    text = f"{name} returned {kind} with values that {wanted} does not hold exactly; round them in the function"
    return KernelError(ErrorCode.DTYPE_MISMATCH, f"{text}: {_ACCEPTED}")
