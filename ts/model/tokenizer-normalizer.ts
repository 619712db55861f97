/** The `normalizer` of a tokenizer.json: what is done to a text before it is cut into words. */
import { z } from "zod";
import type { OctavoError } from "../errors.ts";
import { compile, isOwn, patternSchema } from "./tokenizer-cuts.ts";
import { unsupported } from "./tokenizer-refusals.ts";
import { type Part, readSteps } from "./tokenizer-steps.ts";
import { TimeLimit } from "./tokenizer-time.ts";

const flag = z.boolean().nullish();
const stepSchema = z.discriminatedUnion("type", [
  z.object({ type: z.enum(["NFC", "NFD", "NFKC", "NFKD"]) }),
  z.object({ type: z.literal("Replace"), pattern: patternSchema, content: z.string() }),
  z.object({ type: z.literal("Prepend"), prepend: z.string() }),
  z.object({ type: z.literal("Strip"), strip_left: flag, strip_right: flag }),
  z.object({ type: z.literal("Lowercase") }),
  z.object({ type: z.literal("StripAccents") }),
]);
type NormalizerStep = z.infer<typeof stepSchema>;
const PART: Part<NormalizerStep> = {
  key: "normalizer",
  list: "normalizers",
  step: stepSchema,
  types: "Sequence, NFC, NFD, NFKC, NFKD, Replace, Prepend, Strip, Lowercase, StripAccents",
};

/** A text may become this much longer, per character and beside: one Arabic ligature is 18 characters to NFKD. */
const GROWTH = { factor: 32, more: 1024 };

export interface Normalizer {
  /** Throws `OCTAVO_UNSUPPORTED_MODEL` for a text that takes too long or becomes too long. */
  normalize(text: string): string;
  /** The same for many, within the time for all of them together. */
  normalizeAll(texts: readonly string[]): readonly string[];
  /** How many UTF-16 units or bytes of a text may become one; Infinity where the text says how many. */
  readonly shrinks: number;
}

/** Throws `OCTAVO_UNSUPPORTED_MODEL`. */
export function normalizerOf(normalizer: unknown): Normalizer {
  const steps = readSteps(PART, normalizer);
  const functions = steps.map(functionOf);
  const normalize = (text: string) => {
    const most = GROWTH.factor * text.length + GROWTH.more;
    return functions.reduce((before, step) => {
      const done = step(before, most);
      if (done.length > most) throw tooLong(most);
      return done;
    }, text);
  };
  const timed = steps.some((step) => step.type === "Replace" && isOwn(step.pattern));
  const normalizeAll = (texts: readonly string[]) => {
    const all = () => texts.map(normalize);
    if (!timed) return all();
    const characters = texts.reduce((sum, text) => sum + text.length, 0);
    return new TimeLimit("normalizer", characters).run(all);
  };
  return {
    normalize: timed ? (text) => normalizeAll([text])[0] as string : normalize,
    normalizeAll,
    shrinks: steps.reduce((product, step) => product * shrinkage(step), 1),
  };
}

function tooLong(most: number): OctavoError {
  return unsupported("normalizer", `a text of over ${most} characters`, `up to ${GROWTH.factor} characters for one`);
}

/** `most`: a longer text will be refused, and need not be made. */
function functionOf(step: NormalizerStep): (text: string, most: number) => string {
  switch (step.type) {
    case "Replace": {
      const pattern = compile(step.pattern);
      return (text, most) => {
        let written = 0;
        // A function: "$&" means nothing.
        return text.replaceAll(pattern, () => {
          written += step.content.length;
          if (written > most) throw tooLong(most);
          return step.content;
        });
      };
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

function shrinkage(step: NormalizerStep): number {
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
