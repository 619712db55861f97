"""Int8Linear: a linear layer with int8 weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ErrorCode, KernelError
from . import ops
from .checkpoint import check_entries, emit_format
from .threshold import Threshold, check_mode, dial


class Int8Linear(nn.Module):
    """y = x W^T + b by LLM.int8(): int8 weights, int8 activations, outliers kept.

    State, the names and the meaning those of bitsandbytes' `Linear8bitLt`, so checkpoints go both ways:
    `weight` int8 [out, in]; `SCB` float32 [out], the largest magnitude of each row: W is about weight * SCB / 127;
    `bias`, in whatever dtype, or None. `.half()` and its like leave `weight` and `SCB` alone: nothing ever quantises
    again. New layers hold zeros, for `load_state_dict`; `from_linear` quantises.

    `threshold`: which activations are outliers. 0: none; a number t: |x| >= t (6 is the paper's); "adaptive":
    |x| >= min(6, 6 rms of the row); "all": all of them, which is int8 weights with 16-bit activations; a pair sets both
    constants of "adaptive".
    `mode`: "exact" (a row's result depends on that row alone, to the bit) or "published" (as the paper and bitsandbytes
    do it: a column is an outlier for all rows of a call if it is for one; `threshold` is a number).
    Both may be changed at any time.

    Input float32, float16 or bfloat16 [..., in], of any rank, without rows too; the result is computed in float32 and
    has the input's dtype. Gradients reach the input, through the dequantised weight, and the bias.
    """

    weight: nn.Parameter
    SCB: Tensor
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        threshold: Threshold = "adaptive",
        mode: str = "exact",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """`dtype` is the bias's. Raises KernelError OCTAVO_BAD_ARGUMENT for a wrong threshold or mode."""
        super().__init__()
        check_mode(mode, threshold)
        self.in_features, self.out_features = in_features, out_features
        self.threshold, self.mode = threshold, mode
        codes = torch.zeros(out_features, in_features, dtype=torch.int8, device=device)
        self.weight = nn.Parameter(codes, requires_grad=False)
        self.register_buffer("SCB", torch.zeros(out_features, dtype=torch.float32, device=device))
        self.bias = nn.Parameter(torch.zeros(out_features, device=device, dtype=dtype)) if bias else None

    @classmethod
    def from_linear(cls, linear: nn.Linear, *, threshold: Threshold = "adaptive", mode: str = "exact") -> Int8Linear:
        """Quantise the weight of a linear layer, where it lies; the bias is copied as it is.

        Raises KernelError OCTAVO_BAD_ARGUMENT when the weight holds NaN or Inf.
        """
        return cls.from_weight(linear.weight, linear.bias, threshold=threshold, mode=mode).train(linear.training)

    @classmethod
    def from_weight(
        cls, weight: Tensor, bias: Tensor | None = None, *, threshold: Threshold = "adaptive", mode: str = "exact"
    ) -> Int8Linear:
        """As `from_linear`, of a weight [out, in] and a bias [out]."""
        check_mode(mode, threshold)
        codes, scale = ops.quantize_weight(weight.detach())
        if not scale.is_meta and not torch.isfinite(scale).all():
            row = int((~torch.isfinite(scale)).nonzero()[0])
            raise KernelError(ErrorCode.BAD_ARGUMENT, f"row {row} of the weight holds NaN or Inf: not to be quantised")
        made = cls(weight.shape[1], weight.shape[0], False, threshold=threshold, mode=mode, device="meta")
        made.weight, made.SCB = nn.Parameter(codes, requires_grad=False), scale
        if bias is not None:
            made.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out], in x's dtype. Raises KernelError for another dtype or width."""
        if self.mode == "published":
            check_mode(self.mode, self.threshold)
            return ops.linear_published(x, self.weight, self.SCB, self.bias, float(self.threshold))  # type: ignore[arg-type]
        found = dial(self.threshold)
        return ops.int8_linear(x, self.weight, self.SCB, self.bias, found.decompose, found.absolute, found.relative)

    def dequantize(self) -> Tensor:
        """The weight that the codes stand for, float32 [out, in]."""
        return self.weight.float() * (self.SCB / 127)[:, None]

    def extra_repr(self) -> str:
        """See nn.Module."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        return f"{sizes}, threshold={self.threshold!r}, mode={self.mode!r}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Int8Linear:
        scale = self.SCB
        super()._apply(fn, recurse)
        if self.SCB.dtype != torch.float32:  # .half() of a scale would change the weight
            self.SCB = scale.to(self.SCB.device)
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        emit_format(destination, prefix)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any, **named: Any) -> None:
        check_entries(state_dict, prefix)
        if self.weight.is_inference():  # writes to it are not counted (derived.py): a new tensor is noticed
            self.weight = nn.Parameter(torch.empty_like(self.weight), requires_grad=False)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **named)
