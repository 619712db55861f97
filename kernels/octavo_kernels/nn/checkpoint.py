"""bitsandbytes' checkpoint entries of a linear layer: `weight`, `SCB`, `weight_format`.

`weight_format` says how the int8 codes lie: 0 is row-major, and the only one that bitsandbytes has written since 0.45
(it was the text "row" once). 1 to 3 are tile orders of old GPUs.
"""

from __future__ import annotations

from typing import Any

import torch

from ..errors import ErrorCode, KernelError

_FORMATS = {0: "row", 1: "col32", 2: "col_turing", 3: "col_ampere"}


def emit_format(entries: dict[str, Any], prefix: str) -> None:
    """Add what readers of such checkpoints expect beside the codes."""
    entries[f"{prefix}weight_format"] = torch.tensor(0, dtype=torch.uint8)


def check_entries(entries: dict[str, Any], prefix: str) -> None:
    """Take `weight_format` out of the entries, and raise KernelError unless `weight` and `SCB` are a quantised pair.

    Other entries, and missing ones where neither is there, are load_state_dict's matter.
    """
    layout: Any = entries.pop(f"{prefix}weight_format", "row")
    if isinstance(layout, torch.Tensor):
        layout = layout.item()
    layout = _FORMATS.get(layout, layout)
    if layout != "row":
        text = f"the codes lie in the order {layout}, of which only row is read: save the model again with bitsandbytes"
        raise _invalid(prefix, f"{text} 0.45 or newer (its weight_format then is 0)")
    weight, scale = entries.get(f"{prefix}weight"), entries.get(f"{prefix}SCB")
    if weight is None:
        return
    if weight.dtype != torch.int8:
        text = f"is {weight.dtype}, not int8 codes: load it into nn.Linear, then quantise (Int8Linear.from_linear)"
        raise KernelError(ErrorCode.DTYPE_MISMATCH, f"{prefix}weight {text}")
    if scale is None:
        raise _invalid(prefix, "SCB is missing: int8 codes mean nothing without the scale of their rows")
    if not weight.is_meta and weight.numel() and int(weight.min()) < -127:
        raise _invalid(prefix, "the code -128: codes are -127..127")


def _invalid(prefix: str, text: str) -> KernelError:
    return KernelError(ErrorCode.MODEL_FILE_INVALID, f"{prefix}weight: {text}")
