"""Counts in PTX what the proofs ask about."""

from __future__ import annotations

import re
from collections import Counter

#: What is counted, by a short name.
PATTERNS: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        # Not correctly rounded: div.full, div.approx, sqrt.approx, rsqrt, ex2, lg2, sin, cos, tanh, rcp.
        "approximate": r"\.approx\b|\bdiv\.full\b",
        "flush_subnormals": r"\.ftz\b",
        "fma": r"\bfma\.r[nzmp]\.",
        "division": r"\bdiv\.rn\.",
        "square_root": r"\bsqrt\.rn\.",
        "copy_async_16": r"\bcp\.async\.c[ag]\.shared\S*\s+\[[^\]]*\],\s*\[[^\]]*\],\s*0x10\b",
        "copy_async_small": r"\bcp\.async\.c[ag]\.shared\S*\s+\[[^\]]*\],\s*\[[^\]]*\],\s*0x[48]\b",
        "copy_bulk": r"\bcp\.async\.bulk\.tensor\.",
        "load_16": r"\bld\.global\S*\.v4\.(?:[bsuf]32)\b|\bld\.global\S*\.v2\.(?:[bsuf]64)\b",
        "load_8": r"\bld\.global\S*\.v2\.(?:[bsuf]32)\b|\bld\.global\S*\.v4\.(?:[bsuf]16)\b",
        "load_small": r"\bld\.global(?!\S*\.v[24])\S*\.[bsuf](?:8|16|32)\b",
        "atomic": r"\b(?:atom|red)\.",
        "wait_none": r"\bwgmma\.wait_group\.sync\.aligned\s+0\b",
        "wait_some": r"\bwgmma\.wait_group\.sync\.aligned\s+[1-9]",
        "dependent_wait": r"\bgriddepcontrol\.wait\b",
        "dependent_start": r"\bgriddepcontrol\.launch_dependents\b",
        "prefetch": r"\bprefetch\.global\.L2\b",
    }.items()
}
_PRODUCT = re.compile(r"\b(wgmma\.mma_async[.\w:]*|mma\.sync[.\w:]*|tcgen05\.mma[.\w:]*)")
_PAIR_FMA = re.compile(r"\bfma\.r[nzmp]\.\S*x2\b")
_FMA_LLVM = re.compile(r"\bcall\b[^\n]*@llvm\.(?:nvvm\.)?f(?:ma|muladd)\S*?(?:\.v(\d+)\w+)?\(")


def count(text: str) -> dict[str, int]:
    """How often each of PATTERNS occurs in PTX."""
    counted = {name: len(pattern.findall(text)) for name, pattern in PATTERNS.items()}
    return {**counted, "fma": counted["fma"] + len(_PAIR_FMA.findall(text))}


def products(text: str) -> dict[str, int]:
    """Tensor-core instructions by name."""
    return dict(sorted(Counter(_PRODUCT.findall(text)).items()))


def fma_written(llvm: str) -> int:
    """Fused multiply-adds that the kernel asks for, in LLVM's text; more in PTX were made up by the compiler.

    `fma` comes from tl.fma, `fmuladd` from a float dot; both become fma.rn, and nothing else may.
    """
    return sum(int(lanes or 1) for lanes in _FMA_LLVM.findall(llvm))
