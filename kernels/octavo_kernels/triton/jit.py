"""Launching a kernel through Triton's compiler, on the current device and stream of torch."""

from __future__ import annotations

from . import rounding
from .launch import Launch


def run(launch: Launch) -> None:
    """Enqueue; the first launch of a kernel with new types or constants compiles it. An empty grid is no launch."""
    if 0 in launch.grid:
        return
    rounding.without_pairs()
    options = {
        "num_warps": launch.warps,
        "num_stages": launch.stages,
        # What the definition rounds twice must not be fused; where it says fma, kernels say tl.fma.
        **rounding.OPTIONS,
        "launch_pdl": launch.dependent,
    }
    if launch.registers is not None:
        options["maxnreg"] = launch.registers
    launch.kernel[launch.grid](**launch.arguments, **launch.constants, **options)
