/** What is said of a tokenizer.json that cannot be used; what it quotes of the file is cut. */
import { located, messageOf, OctavoError } from "../errors.ts";
import { cut, quoted } from "../quoted.ts";

export function unsupported(key: string, value: unknown, implemented: string): OctavoError {
  return new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `tokenizer.json: ${key} is ${quoted(value, 160)}; implemented: ${implemented}`,
  );
}

export function invalidTokenizer(message: string, options?: ErrorOptions): OctavoError {
  return new OctavoError("OCTAVO_MODEL_FILE_INVALID", `tokenizer.json: ${message}`, options);
}

/** Whatever went wrong in reading the tokenizer of the model there. */
export function tokenizerError(path: string, cause: unknown): OctavoError {
  if (OctavoError.isInstance(cause)) return located(path, cause);
  return new OctavoError("OCTAVO_MODEL_FILE_INVALID", `${path}: tokenizer.json: ${cut(messageOf(cause))}`, { cause });
}
