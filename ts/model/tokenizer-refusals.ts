/** What is said of a tokenizer.json that cannot be used; what it quotes of the file is cut. */
import { OctavoError } from "../errors.ts";

export function unsupported(key: string, value: unknown, implemented: string): OctavoError {
  return new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `tokenizer.json: ${key} is ${quote(value)}; implemented: ${implemented}`,
  );
}

export function invalidTokenizer(message: string, options?: ErrorOptions): OctavoError {
  return new OctavoError("OCTAVO_MODEL_FILE_INVALID", `tokenizer.json: ${message}`, options);
}

export function quote(value: unknown): string {
  // A long value is not written out in full only to be cut.
  const text = typeof value === "string" ? JSON.stringify(value.slice(0, 160)) : JSON.stringify(value, shorten);
  return text === undefined ? String(value) : text.length > 160 ? `${text.slice(0, 157)}...` : text;
}

function shorten(_key: string, value: unknown): unknown {
  if (typeof value === "string") return value.slice(0, 160);
  return Array.isArray(value) ? value.slice(0, 8) : value;
}

/** The error with the path of the model before it. */
export function located(path: string, cause: unknown): unknown {
  if (cause instanceof OctavoError) return new OctavoError(cause.code, `${path}: ${cause.message}`, { cause });
  const reason = cause instanceof Error ? cause.message : String(cause);
  return invalidTokenizer(`${path}: ${reason.slice(0, 200)}`, { cause });
}
