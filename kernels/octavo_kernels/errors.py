"""The one error class of the kernels package."""

from __future__ import annotations

# Codes whose failure may pass by itself; `ts/errors.ts` is the table these agree with (tested in worker/tests).
_RETRYABLE = frozenset({"OCTAVO_OUT_OF_MEMORY"})


class KernelError(Exception):
    """Something a backend refused, with a code of the error table (`ts/errors.ts`, `docs/errors.md`).

    Raised before any effect: after it, every tensor holds what it held before.
    """

    def __init__(self, code: str, message: str, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = code in _RETRYABLE if retryable is None else retryable

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
