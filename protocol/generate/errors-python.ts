/** `worker/octavo_worker/generated/errors.py`: the error codes as constants. */
import { ERRORS } from "../errors.ts";
import { HEADER, text } from "./python.ts";

/** OCTAVO_WORKER_LOST -> WORKER_LOST: the module says the rest. */
function constant(code: string): string {
  return code.replace(/^OCTAVO_/, "");
}

export function errorsPython(): string {
  const codes = Object.entries(ERRORS);
  return `"""Error codes; what they mean is in docs/errors.md. ${HEADER}"""

from __future__ import annotations

${codes.map(([code]) => `${constant(code)} = ${text(code)}`).join("\n")}

#: Whether the same request may succeed later without a change by the caller.
RETRYABLE: dict[str, bool] = {
${codes.map(([code, { retryable }]) => `    ${constant(code)}: ${retryable ? "True" : "False"},`).join("\n")}
}
`;
}
