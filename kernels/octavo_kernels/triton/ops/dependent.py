"""Programmatic dependent launch (sm_90 and newer): a kernel starts while the one before it still runs.

Every program calls `follow` before anything else, also those that have no row: a kernel that ended before the one
before it would let the next one start on results that are not there yet.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from ..launch import Context


def dependent(context: Context) -> bool:
    """Whether kernels are launched so; what Launch.dependent and the constant of `follow` must both be."""
    return context.architecture >= 90 and not context.interpreted


@triton.jit
def follow(DEPENDENT: tl.constexpr):
    """Lets the next kernel start, a linear then asks for its weights, and waits for the one before."""
    if DEPENDENT:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def let_follow(DEPENDENT: tl.constexpr):
    """Lets the next kernel start. For a kernel that itself was started when everything before it had ended."""
    if DEPENDENT:
        gdc_launch_dependents()
