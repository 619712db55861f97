/** The steps of a part of a tokenizer.json that is one step, a Sequence of them, or nothing. */
import type { z } from "zod";
import { invalidTokenizer, unsupported } from "./tokenizer-refusals.ts";

/** Published ones have up to 5. */
const MAX_STEPS = 32;

/** A part's key, the key of a Sequence's steps, what a step may be, and the words for it. */
export interface Part<T> {
  readonly key: string;
  readonly list: string;
  readonly step: z.ZodType<T>;
  readonly types: string;
}

/** Throws `OCTAVO_UNSUPPORTED_MODEL` for a step of another kind, `OCTAVO_MODEL_FILE_INVALID` for more than any tokenizer has. */
export function readSteps<T>(part: Part<T>, value: unknown): T[] {
  const { key, step, types } = part;
  const steps = flatten(part, value).map((entry) => {
    const parsed = step.safeParse(entry);
    if (parsed.success) return parsed.data;
    throw unsupported(key, entry, `${types} with the fields that the tokenizers library writes`);
  });
  if (steps.length > MAX_STEPS) throw invalidTokenizer(`${key} has ${steps.length} steps, over ${MAX_STEPS}`);
  return steps;
}

function flatten<T>(part: Part<T>, entry: unknown): unknown[] {
  if (entry === null || entry === undefined) return [];
  if (typeof entry !== "object" || !("type" in entry) || entry.type !== "Sequence") return [entry];
  const inner: unknown = Object.hasOwn(entry, part.list) ? Reflect.get(entry, part.list) : undefined;
  if (Array.isArray(inner)) return inner.flatMap((one) => flatten(part, one));
  throw unsupported(part.key, entry, `a Sequence with ${part.list}`);
}
