"""What Triton's compiler is told so that every product and every sum is rounded as a kernel says.

`enable_fp_fusion=False` is not enough on sm_100: LLVM makes pairs of a kernel's floats, and ptxas (12.9) makes one
fused instruction of `mul.rn.f32x2` and `add.rn.f32x2`, though it is told `--fmad=false`: other bits than two roundings
give. So there are no pairs.
"""

from __future__ import annotations

import os
from functools import cache

from ..generated import environment

#: Options of a compilation. Without the second, functions of libdevice take subnormal numbers for zero: tl.ceil does.
OPTIONS = {"enable_fp_fusion": False, "enable_reflect_ftz": False}
#: Triton sets each of LLVM's options that an environment variable lists. Of older architectures this changes nothing.
_NO_PAIRS = "nvptx-no-f32x2"


@cache
def without_pairs() -> str:
    """Call before anything is compiled: this process, and those it starts, make no pairs of floats from then on. What
    the variable says already stays. Returns the option's name."""
    said = os.environ.get(environment.DISABLE_LLVM_OPT, "")
    if _NO_PAIRS not in said.split(","):
        os.environ[environment.DISABLE_LLVM_OPT] = f"{said},{_NO_PAIRS}" if said else _NO_PAIRS
    return _NO_PAIRS
