"""The PyTorch door: LLM.int8() as modules and as ops of torch.library (namespace `octavo`).

    from octavo_kernels.nn import Int8Linear, replace_linears
    print(replace_linears(model, threshold=6.0))

Needs torch: `pip install "./kernels[torch]"` in a clone. See docs/pytorch.md.
"""

from __future__ import annotations

from ..errors import ErrorCode, KernelError

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    text = f"octavo_kernels.nn needs torch ({error}); install octavo-kernels[torch]"
    raise KernelError(ErrorCode.MISSING_DEPENDENCY, text) from error

from .module import Int8Linear
from .ops import int8_linear, linear_int8, linear_published, quantize, quantize_weight
from .replace import Replaced, Report, replace_linears
from .threshold import Threshold

__all__ = [
    "Int8Linear",
    "Replaced",
    "Report",
    "Threshold",
    "int8_linear",
    "linear_int8",
    "linear_published",
    "quantize",
    "quantize_weight",
    "replace_linears",
]
