/** JSON of model files. */
import { messageOf } from "../../errors.ts";
import { cut } from "../../quoted.ts";
import { invalid } from "./ranges.ts";

/** A value takes up to 60 times its text in memory. Smaller texts cannot hold enough of them to matter. */
const SMALL_BYTES = 8 * 2 ** 20;
/** The largest vocabularies have about 2 million: tokens, and merges of two. */
const MAX_VALUES = 4e6;

/** JSON text that must be an object. Throws `OCTAVO_MODEL_FILE_INVALID`. */
export function parseObject(file: string, text: Buffer): Record<string, unknown> {
  if (text.length > SMALL_BYTES) checkValues(file, text);
  let value: unknown;
  try {
    value = JSON.parse(text.toString("utf8"));
  } catch (cause) {
    throw invalid(file, `not JSON: ${cut(messageOf(cause))}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(file, "not a JSON object");
  return value as Record<string, unknown>;
}

/** Every value but one has a comma or a bracket before it; those in strings are few. */
function checkValues(file: string, text: Buffer): void {
  const [comma, bracket, brace] = [0x2c, 0x5b, 0x7b];
  let values = 0;
  for (let i = 0; i < text.length; i++) {
    const byte = text[i];
    if (byte === comma || byte === bracket || byte === brace) values++;
  }
  if (values > MAX_VALUES) throw invalid(file, `it holds ${values} values; such a file is read up to ${MAX_VALUES}`);
}
