/** `generated/errors.py` of the kernels, which the worker imports. */
import { ERRORS, type ErrorCode } from "../errors.ts";
import { HEADER, text } from "./python.ts";

/** OCTAVO_WORKER_LOST -> WORKER_LOST: the class says the rest. */
function constant(code: string): string {
  return code.replace(/^OCTAVO_/, "");
}

export function errorCode(code: ErrorCode): string {
  return `ErrorCode.${constant(code)}`;
}

export function errorsPython(): string {
  const codes = Object.entries(ERRORS);
  const retryable = codes.filter(([, error]) => error.retryable);
  return `"""Error codes; what they mean is in docs/errors.md. ${HEADER}"""

from __future__ import annotations

from enum import Enum


class ErrorCode(str, Enum):
${codes.map(([code]) => `    ${constant(code)} = ${text(code)}`).join("\n")}

    __str__ = str.__str__


#: The same request may succeed later without a change by the caller, unless the error itself says otherwise.
RETRYABLE = frozenset({${retryable.map(([code]) => errorCode(code as ErrorCode)).join(", ")}})
`;
}
