import { ERRORS, type ErrorCode } from "../protocol/errors.ts";
import { cut } from "./quoted.ts";

export { ERRORS, type ErrorCode };

/**
 * The last bound on what a message repeats of a file or a log; what belongs into one is cut where it is quoted. The end is
 * kept as well: it says what to do.
 */
const MAX_MESSAGE = 8192;
const MAX_END = 1024;

/** Every error that Octavo throws on purpose. */
export class OctavoError extends Error {
  override readonly name = "OctavoError";
  readonly code: ErrorCode;
  /** Whether the same call may succeed later without a change by the caller. The table has what is usual for the code. */
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & { readonly retryable?: boolean }) {
    super(bounded(message), options);
    this.code = code;
    this.retryable = options?.retryable ?? ERRORS[code].retryable;
  }

  /** Also true for errors of another copy of this package, or of another realm. */
  static isInstance(value: unknown): value is OctavoError {
    const code = codeOf(value);
    return code !== undefined && Object.hasOwn(ERRORS, code) && fieldOf(value, "message") !== undefined;
  }
}

/** The error with the file or folder that it is about before it. */
export function located(path: string, error: OctavoError): OctavoError {
  return new OctavoError(error.code, `${path}: ${error.message}`, { cause: error });
}

/** What a caller has given is not what is taken: `OCTAVO_BAD_ARGUMENT`. */
export function badArgument(text: string, options?: ErrorOptions): OctavoError {
  return new OctavoError("OCTAVO_BAD_ARGUMENT", text, options);
}

/**
 * The `code` of an error such as node's ("ENOENT"). Read as a field: an error of another realm (Jest, `node:vm`) is no
 * `instanceof Error`.
 */
export function codeOf(error: unknown): string | undefined {
  return fieldOf(error, "code");
}

/** What an error of anybody says, in whatever realm it was made. */
export function messageOf(error: unknown): string {
  return fieldOf(error, "message") ?? String(error);
}

function fieldOf(value: unknown, name: string): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const field: unknown = Reflect.get(value, name);
  return typeof field === "string" ? field : undefined;
}

function bounded(message: string): string {
  if (message.length <= MAX_MESSAGE) return message;
  return `${cut(message, MAX_MESSAGE - MAX_END)} ${message.slice(-MAX_END)}`;
}
