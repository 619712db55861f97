/** The `normalizer` of a tokenizer.json: what is done to a text before it is cut into words. */
import { z } from "zod";
import { compile, patternSchema } from "./tokenizer-cuts.ts";
import { unsupported } from "./tokenizer-refusals.ts";

const flag = z.boolean().nullish();
const stepSchema = z.discriminatedUnion("type", [
  z.object({ type: z.enum(["NFC", "NFD", "NFKC", "NFKD"]) }),
  z.object({ type: z.literal("Replace"), pattern: patternSchema, content: z.string() }),
  z.object({ type: z.literal("Prepend"), prepend: z.string() }),
  z.object({ type: z.literal("Strip"), strip_left: flag, strip_right: flag }),
  z.object({ type: z.literal("Lowercase") }),
  z.object({ type: z.literal("StripAccents") }),
]);
type Step = z.infer<typeof stepSchema>;
const TYPES = "Sequence, NFC, NFD, NFKC, NFKD, Replace, Prepend, Strip, Lowercase, StripAccents";

export interface Normalizer {
  normalize(text: string): string;
  /** How many UTF-16 units or bytes of a text may become one; Infinity where the text says how many. */
  readonly shrinks: number;
}

/** Throws `OCTAVO_UNSUPPORTED_MODEL`. */
export function normalizerOf(normalizer: unknown): Normalizer {
  const steps = flatten(normalizer).map((entry) => {
    const step = stepSchema.safeParse(entry);
    if (step.success) return step.data;
    throw unsupported("normalizer", entry, `${TYPES} with the fields that the tokenizers library writes`);
  });
  const functions = steps.map(functionOf);
  return {
    normalize: (text) => functions.reduce((done, step) => step(done), text),
    shrinks: steps.reduce((product, step) => product * shrinkage(step), 1),
  };
}

function flatten(entry: unknown): unknown[] {
  if (entry === null || entry === undefined) return [];
  if (typeof entry !== "object" || !("type" in entry) || entry.type !== "Sequence") return [entry];
  if ("normalizers" in entry && Array.isArray(entry.normalizers)) return entry.normalizers.flatMap(flatten);
  throw unsupported("normalizer", entry, "a Sequence with normalizers");
}

function functionOf(step: Step): (text: string) => string {
  switch (step.type) {
    case "Replace": {
      const pattern = compile(step.pattern);
      return (text) => text.replaceAll(pattern, () => step.content); // A function: "$&" means nothing.
    }
    case "Prepend":
      return (text) => (text === "" ? text : step.prepend + text);
    case "Strip": {
      const left = step.strip_left === true ? /^\p{White_Space}+/u : undefined;
      const right = step.strip_right === true;
      return (text) => {
        const rest = left === undefined ? text : text.replace(left, "");
        return right ? trimEnd(rest) : rest;
      };
    }
    case "Lowercase":
      // Character by character: JavaScript has another sigma for the end of a word.
      return (text) => Array.from(text, (character) => character.toLowerCase()).join("");
    case "StripAccents":
      return (text) => text.replaceAll(/\p{Mn}/gu, "");
    default:
      return (text) => text.normalize(step.type);
  }
}

/** An expression for it would try every run of white space in the text. */
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

function shrinkage(step: Step): number {
  switch (step.type) {
    case "Prepend":
      return 1;
    case "NFC":
      return 4; // Three Hangul letters of three bytes become one syllable.
    case "Replace":
      return "String" in step.pattern && step.pattern.String.length === 1 && step.content.length > 0
        ? Buffer.byteLength(step.pattern.String)
        : Number.POSITIVE_INFINITY;
    default:
      return Number.POSITIVE_INFINITY;
  }
}
