"""The one error class of the kernels package."""

from __future__ import annotations

from .generated.errors import RETRYABLE, ErrorCode


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


__all__ = ["ErrorCode", "KernelError"]
