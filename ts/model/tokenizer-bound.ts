/** How few tokens a text can be, from its length alone. */
import { BYTE_ALPHABET } from "./token-bytes.ts";
import type { Cuts } from "./tokenizer-cuts.ts";
import type { Normalizer } from "./tokenizer-normalizer.ts";
import type { Vocabulary } from "./tokenizer-vocabulary.ts";

const CHUNK = 1 << 20;
const SPACES = /\p{White_Space}+/gu;

/**
 * Measured in bytes for byte-level vocabularies, in UTF-16 units for others. What can be lost without a token (bytes that no
 * token has, white space beside tokens that strip it) does not count.
 */
export class LengthBound {
  /** The most that one token stands for; Infinity where nothing can be said. */
  readonly #longest: number;
  readonly #lostBytes: ReadonlySet<number> | undefined;
  readonly #byteLevel: boolean;
  readonly #strips: boolean;

  constructor({ tokens, added, model }: Vocabulary, normalizer: Normalizer, cuts: Cuts) {
    this.#byteLevel = cuts.byteLevel;
    this.#strips = added.some((token) => token.lstrip || token.rstrip);
    const lost = cuts.byteLevel ? BYTE_ALPHABET.flatMap((unit, byte) => (model.hasUnit(unit) ? [] : [byte])) : [];
    this.#lostBytes = lost.length > 0 && !model.losesNothing ? new Set(lost) : undefined;
    const provable = !cuts.loses && (cuts.byteLevel || model.losesNothing);
    let longest = 1;
    for (const token of tokens) longest = Math.max(longest, token?.length ?? 0);
    for (const { content } of added) longest = Math.max(longest, Buffer.byteLength(content));
    this.#longest = provable ? longest * normalizer.shrinks : Number.POSITIVE_INFINITY;
  }

  /** Whether `text` is more than `limit` tokens for certain. Reads no more of it than that takes. */
  exceeds(text: string, limit: number, fence: string | undefined): boolean {
    const most = limit * this.#longest;
    if (text.length * (this.#byteLevel ? 3 : 1) <= most) return false;
    let measure = 0;
    for (let at = 0; at < text.length && measure <= most; at += CHUNK) {
      let chunk = text.slice(at, at + CHUNK);
      if (fence !== undefined) chunk = chunk.replaceAll(fence, "");
      if (this.#strips) chunk = chunk.replaceAll(SPACES, "");
      measure += this.#byteLevel ? this.#bytes(chunk) : chunk.length;
    }
    return measure > most;
  }

  #bytes(chunk: string): number {
    // The halves of a surrogate pair in two chunks count as three bytes each, the pair as four.
    if (this.#lostBytes === undefined) return Buffer.byteLength(chunk) - 2;
    let count = -2;
    for (const byte of Buffer.from(chunk)) if (!this.#lostBytes.has(byte)) count++;
    return count;
  }
}
