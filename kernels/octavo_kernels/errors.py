"""The one error class of the kernels package."""

from __future__ import annotations

import sys
from pathlib import Path

from .generated.errors import RETRYABLE, ErrorCode

_PINNED = Path(__file__).parents[2] / "requirements" / "torch.txt"


class KernelError(Exception):
    """Something a backend refused, with a code of the error table (`protocol/errors.ts`, `docs/errors.md`).

    Raised before any effect: after it, every tensor holds what it held before. `retryable` is the table's unless given.
    """

    def __init__(self, code: ErrorCode, message: str, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = code in RETRYABLE if retryable is None else retryable

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def without_torch(what: str, error: ImportError) -> KernelError:
    """What to do where torch, or a part of it, is missing: the pinned versions in a clone or the npm package."""
    packages = f"--require-hashes -r {_PINNED}" if _PINNED.exists() else "torch"
    text = f"{what} ({error}); run: {sys.executable} -m pip install {packages}"
    return KernelError(ErrorCode.MISSING_DEPENDENCY, text)


__all__ = ["ErrorCode", "KernelError", "without_torch"]
