"""What the proofs of compiled kernels let pass, each with its reason. Short, or something is wrong."""

from __future__ import annotations

#: (kernel, architecture) -> bytes of spilled stores outside loops that are tolerated.
SPILLING: dict[tuple[str, int], int] = {}

#: Kernels that may use approximate functions.
APPROXIMATE: frozenset[str] = frozenset()

#: Errors of compilations that this version of Triton cannot do.
UNPLANNED: frozenset[str] = frozenset()
