/**
 * The `pre_tokenizer` of a tokenizer.json: text to words, one after the other, so that a long text can be left in between.
 *
 * Of `@huggingface/tokenizers` 0.2.0 only the translation of regular expressions (Oniguruma's to JavaScript's) is used: its
 * `Digits`, `ByteLevel`, `Metaspace` and the behaviours of its `Split` cut elsewhere than the Rust library that models are trained with.
 */
import * as library from "@huggingface/tokenizers";
import { z } from "zod";
import { GPT2_WORDS, isKnownExpression } from "./source/pre-tokenizers.ts";
import { BYTE_ALPHABET } from "./token-bytes.ts";
import { invalidTokenizer, unsupported } from "./tokenizer-refusals.ts";
import { type Part, readSteps } from "./tokenizer-steps.ts";
import { MAX_EXPRESSION, TimeLimit } from "./tokenizer-time.ts";

/** One way to cut a text. `first`: it is the beginning of the whole text. */
type Cut = (text: string, first: boolean) => Iterable<string>;

/** Rust's `char::is_numeric`, which has ½, ² and Ⅷ. */
const NUMBER = "\\p{N}";
const PUNCTUATION = "[!-/:-@\\[-`{-~\\p{P}]";

const BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
type Behavior = (typeof BEHAVIORS)[number];

export const patternSchema = z.union([z.object({ Regex: z.string() }), z.object({ String: z.string() })]);
const optional = z.boolean().nullish();
const behavior = z.enum(BEHAVIORS);
const stepSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("Split"), pattern: patternSchema, behavior, invert: optional }),
  z.object({ type: z.literal("ByteLevel"), add_prefix_space: optional, use_regex: optional }),
  z.object({ type: z.literal("Digits"), individual_digits: optional }),
  z.object({ type: z.literal("Punctuation"), behavior: behavior.nullish() }),
  z.object({
    type: z.literal("Metaspace"),
    replacement: z.string().length(1).nullish(),
    prepend_scheme: z.enum(["always", "first", "never"]).nullish(),
    add_prefix_space: optional,
    split: optional,
  }),
]);
const PART: Part<z.infer<typeof stepSchema>> = {
  key: "pre_tokenizer",
  list: "pretokenizers",
  step: stepSchema,
  types: "Sequence, Split, ByteLevel, Digits, Punctuation, Metaspace",
};

export interface Cuts {
  words(text: string, first: boolean): Iterable<string>;
  /** Words are written in GPT-2's alphabet of bytes. */
  readonly byteLevel: boolean;
  /** Some of the text is in no word. */
  readonly loses: boolean;
}

/** Throws `OCTAVO_UNSUPPORTED_MODEL` or `OCTAVO_MODEL_FILE_INVALID`. */
export function cutsOf(preTokenizer: unknown): Cuts {
  const parsed = readSteps(PART, preTokenizer);
  // Each of them writes every byte as one or two.
  if (parsed.filter(({ type }) => type === "ByteLevel").length > 1)
    throw unsupported("pre_tokenizer", preTokenizer, "ByteLevel once");
  const timed = parsed.some((step) => step.type === "Split" && isOwn(step.pattern));
  const steps = parsed.flatMap(stepsOf);
  const words = (text: string, first: boolean) => run(steps, 0, text, first);
  return {
    words: timed ? (text, first) => new TimeLimit("pre_tokenizer", text.length).items(words(text, first)) : words,
    byteLevel: parsed.some(({ type }) => type === "ByteLevel"),
    loses: parsed.some((step) => "behavior" in step && step.behavior === "Removed"),
  };
}

function* run(steps: readonly Cut[], index: number, text: string, first: boolean): Generator<string> {
  const step = steps[index];
  if (step === undefined) yield text;
  else if (index === steps.length - 1) yield* step(text, first);
  else {
    for (const part of step(text, first)) {
      yield* run(steps, index + 1, part, first);
      first = false;
    }
  }
}

function stepsOf(step: z.infer<typeof stepSchema>): Cut[] {
  switch (step.type) {
    case "Split":
      return [split(compile(step.pattern), step.behavior, step.invert ?? false)];
    case "Digits":
      return [split(compile({ Regex: NUMBER }), step.individual_digits === true ? "Isolated" : "Contiguous", false)];
    case "Punctuation":
      return [split(compile({ Regex: PUNCTUATION }), step.behavior ?? "Isolated", false)];
    case "ByteLevel": {
      const prefix: Cut[] =
        step.add_prefix_space === true ? [(text) => [text.startsWith(" ") ? text : ` ${text}`]] : [];
      const cut = step.use_regex === false ? [] : [split(compile({ Regex: GPT2_WORDS }), "Isolated", false)];
      return [...prefix, ...cut, (text) => [toByteAlphabet(text)]];
    }
    case "Metaspace":
      return metaspace(step.replacement ?? "▁", step.split !== false, prependScheme(step));
  }
}

function prependScheme(step: {
  readonly prepend_scheme?: "always" | "first" | "never" | null | undefined;
  readonly add_prefix_space?: boolean | null | undefined;
}): "always" | "first" | "never" {
  return step.prepend_scheme ?? (step.add_prefix_space === false ? "never" : "always");
}

function metaspace(replacement: string, splits: boolean, scheme: "always" | "first" | "never"): Cut[] {
  const mark: Cut = (text, first) => {
    const marked = text.replaceAll(" ", replacement);
    const prefixed = scheme === "always" || (scheme === "first" && first);
    return [prefixed && !marked.startsWith(replacement) ? replacement + marked : marked];
  };
  return splits ? [mark, split(compile({ String: replacement }), "MergedWithNext", false)] : [mark];
}

// The library's declarations do not resolve under NodeNext.
const { SplitPreTokenizer } = library as unknown as {
  readonly SplitPreTokenizer: new (config: object) => { readonly pattern: RegExp | null };
};

/** An expression that nobody knows: to be run within a time limit. */
export function isOwn(pattern: z.infer<typeof patternSchema>): boolean {
  return "Regex" in pattern && !isKnownExpression(pattern.Regex);
}

/** The expression as JavaScript says it, with the flags `g` and `u`. Throws what the translation throws. */
export function compile(pattern: z.infer<typeof patternSchema>): RegExp {
  const { length } = "Regex" in pattern ? pattern.Regex : pattern.String;
  if (length > MAX_EXPRESSION) throw invalidTokenizer(`a pattern has ${length} characters, over ${MAX_EXPRESSION}`);
  const { pattern: compiled } = new SplitPreTokenizer({ type: "Split", pattern, behavior: "Isolated", invert: false });
  if (compiled === null) throw unsupported("pattern", pattern, "Regex or String");
  return compiled;
}

/** Whether a stretch goes into the one before it. As `SplitDelimiterBehavior` of the Rust library. */
const JOINS: Readonly<Record<Behavior, (isMatch: boolean, wasMatch: boolean) => boolean>> = {
  Isolated: () => false,
  Removed: () => false,
  Contiguous: (isMatch, wasMatch) => isMatch === wasMatch,
  MergedWithPrevious: (isMatch, wasMatch) => isMatch && !wasMatch,
  MergedWithNext: (isMatch, wasMatch) => !isMatch && wasMatch,
};

function split(regex: RegExp, behavior: Behavior, invert: boolean): Cut {
  const joins = JOINS[behavior];
  return function* (text) {
    let [start, end, wasMatch] = [0, 0, false];
    for (const stretch of stretches(regex, text)) {
      const isMatch = stretch.isMatch !== invert;
      if (end > start && !joins(isMatch, wasMatch)) {
        if (behavior !== "Removed" || !wasMatch) yield text.slice(start, end);
        start = end;
      }
      end = stretch.end;
      wasMatch = isMatch;
    }
    if (end > start && (behavior !== "Removed" || !wasMatch)) yield text.slice(start, end);
  };
}

/** Matches and what lies between them; the matches may be empty. */
function* stretches(regex: RegExp, text: string): Generator<{ readonly end: number; readonly isMatch: boolean }> {
  let done = 0;
  for (let from = 0; from < text.length; ) {
    regex.lastIndex = from; // Set anew each time: between two words of this text another one may be cut.
    const match = regex.exec(text);
    if (match === null) break;
    if (match.index > done) yield { end: match.index, isMatch: false };
    done = match.index + match[0].length;
    yield { end: done, isMatch: true };
    from = match[0] !== "" ? done : done + ((text.codePointAt(done) ?? 0) > 0xffff ? 2 : 1);
  }
  if (text.length > done) yield { end: text.length, isMatch: false };
}

function toByteAlphabet(text: string): string {
  // Most words are ASCII, with a space before them at most.
  if (/^ ?[!-~]*$/.test(text)) return text.charCodeAt(0) === 0x20 ? BYTE_ALPHABET[0x20] + text.slice(1) : text;
  let written = "";
  for (const byte of Buffer.from(text)) written += BYTE_ALPHABET[byte];
  return written;
}
