/** Text -> ids, with pauses in which the caller may do something else. */
import { OctavoError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { type AddedToken, AddedTokenSplitter } from "./tokenizer-added-tokens.ts";
import { LengthBound } from "./tokenizer-bound.ts";
import { type Cuts, cutsOf } from "./tokenizer-cuts.ts";
import { type Normalizer, normalizerOf } from "./tokenizer-normalizer.ts";
import type { Vocabulary } from "./tokenizer-vocabulary.ts";

/** Work between two pauses, in UTF-16 units of text: a few milliseconds. */
const SLICE = 16_384;
/** Words up to this length are done in one go. */
const LONG_WORD = 4096;
/** What cutting out a word costs, however short it is. */
const PER_WORD = 8;

export class Encoder {
  readonly bound: LengthBound;
  readonly #vocabulary: Vocabulary;
  readonly #normalizer: Normalizer;
  readonly #cuts: Cuts;
  readonly #verbatim: AddedTokenSplitter;
  /** Of tokens that are searched for in the normalised text. */
  readonly #normalized: AddedTokenSplitter | undefined;
  /** Ids are below it. */
  readonly #limit: number;

  /** Throws `OCTAVO_UNSUPPORTED_MODEL` or `OCTAVO_MODEL_FILE_INVALID`. */
  constructor(json: Readonly<Record<string, unknown>>, vocabulary: Vocabulary, limit: number) {
    this.#vocabulary = vocabulary;
    this.#limit = limit;
    this.#normalizer = normalizerOf(json.normalizer);
    this.#cuts = cutsOf(json.pre_tokenizer);
    this.bound = new LengthBound(vocabulary, this.#normalizer, this.#cuts);
    const { added } = vocabulary;
    const verbatim = added.filter((token) => !token.normalized);
    this.#verbatim = new AddedTokenSplitter(verbatim.map((token) => ({ text: token.content, token })));
    const others = added.filter((token) => token.normalized);
    const texts = this.#normalizer.normalizeAll(others.map(({ content }) => content));
    const normalized = others
      .map((token, index) => ({ text: texts[index] as string, token }))
      .filter(({ text }) => text !== "");
    this.#normalized = normalized.length === 0 ? undefined : new AddedTokenSplitter(normalized);
  }

  /** Appends the ids of `text`. Throws `OCTAVO_TOKEN_OUT_OF_RANGE` for an added token that the model has no row for. */
  *steps(text: string, fence: string | undefined, out: number[]): Generator<void> {
    const pace = new Pace();
    let first = true;
    for (const part of this.#verbatim.split(text, fence, SLICE)) {
      if (part === undefined) yield;
      else if (typeof part === "string") yield* this.#stretch(part, fence, first, out, pace);
      else {
        this.#add(part, out);
        if (pace.spent(PER_WORD)) yield;
      }
      first = false;
    }
  }

  /** What lies between added tokens of the text as it was given. */
  *#stretch(text: string, fence: string | undefined, first: boolean, out: number[], pace: Pace): Generator<void> {
    const joined = fence === undefined ? text : text.replaceAll(fence, "");
    const whole = this.#normalizer.normalize(joined);
    if (this.#normalized === undefined) return yield* this.#words(whole, first, out, pace);
    const fenced = joined === text ? whole : this.#normalizer.normalize(text);
    // Only where no token matches may the normaliser see together what a fence keeps apart.
    if (!this.#normalized.matches(fenced, fence)) return yield* this.#words(whole, first, out, pace);
    for (const part of this.#normalized.split(fenced, fence, SLICE)) {
      if (part === undefined) yield;
      else if (typeof part === "object") this.#add(part, out);
      else yield* this.#words(fence === undefined ? part : part.replaceAll(fence, ""), first, out, pace);
      first = false;
    }
  }

  *#words(text: string, first: boolean, out: number[], pace: Pace): Generator<void> {
    if (text === "") return;
    const { model } = this.#vocabulary;
    for (const word of this.#cuts.words(text, first)) {
      if (word.length > LONG_WORD) yield* model.encodeLong(word, out, SLICE);
      else model.encode(word, out);
      if (pace.spent(word.length + PER_WORD)) yield;
    }
  }

  #add({ id, content }: AddedToken, out: number[]): void {
    if (id >= this.#limit) {
      const text = `the text has ${quoted(content)}, token ${id}; the model has ${this.#limit} tokens`;
      throw new OctavoError("OCTAVO_TOKEN_OUT_OF_RANGE", text);
    }
    out.push(id);
  }
}

class Pace {
  #work = 0;

  /** Whether it is time for a pause. */
  spent(work: number): boolean {
    this.#work += work;
    if (this.#work < SLICE) return false;
    this.#work = 0;
    return true;
  }
}
