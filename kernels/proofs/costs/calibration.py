"""The model on kernels whose times were published."""

from __future__ import annotations

from ..compile.facts import Facts
from .devices import A100, H100
from .markdown import amount, table
from .model import time
from .work import Work

#: Standing for a CUTLASS kernel of tiles of 64 x 64 x 256 and 6 stages, and of 128 x 128 x 128: registers and shared
#: memory as such kernels have them.
_DECODE = Facts("cutlass", 90, 4, 100, 0, 0, 0, 200_000, {}, {}, {})
_PREFILL = Facts("cutlass", 80, 8, 200, 0, 0, 0, 100_000, {}, {}, {})
#: int8, one row, K = 4096, H800: issue 40016 of vllm-project/vllm. Microseconds by N.
_VLLM = {2048: 6.5, 4096: 8.0, 6144: 9.25}
#: int8, 2048 rows, N = 4096, K = 8192, A100: pull request 2752 of sgl-project/sglang. TOP/s.
_SGLANG = 499


def calibration() -> str:
    """Published beside computed."""
    rows = []
    for outputs, published in _VLLM.items():
        steps, programs = 4096 // 256, outputs // 64
        done = Work(
            **{"programs": programs, "warps": 4, "instructions": 60 * steps, "products": outputs * 64 * 4096},
            **{"warpgroup": True, "multiply_adds": 0, "bytes": outputs * 4096, "ahead": 5 * 64 * 256},
            **{"prefetched": 0, "dependent": False, "splits": 1},
        )
        computed = amount(time(done, _DECODE, H100).total)
        rows.append([f"int8 CUTLASS, H800, 1 row, {outputs} x 4096", f"{published} us", f"{computed} us"])
    steps, programs = 8192 // 128, 2048 * 4096 // 128**2
    done = Work(
        **{"programs": programs, "warps": 8, "instructions": 138 * steps, "products": 2048 * 4096 * 8192},
        **{"warpgroup": False, "multiply_adds": 0, "bytes": 2048 * 8192 + 4096 * 8192 + 2 * 2048 * 4096},
        **{"ahead": 2 * 256 * 128, "prefetched": 0, "dependent": False, "splits": 1},
    )
    found = 2 * 2048 * 4096 * 8192 / time(done, _PREFILL, A100).total / 1e6
    rows.append(["int8 CUTLASS, A100, 2048 rows, 4096 x 8192", f"{_SGLANG} TOP/s", f"{amount(found)} TOP/s"])
    return table(["kernel", "published", "computed"], rows)
