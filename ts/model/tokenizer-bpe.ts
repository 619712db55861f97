/**
 * The BPE model of a tokenizer.json, by ids. `@huggingface/tokenizers` 0.2.0 works with strings, so that a damaged file makes ids
 * of what is no id, does not fuse unknown characters, and cannot stop within a long word.
 */
import { quoted } from "../quoted.ts";
import { MergeTable, Merging } from "./tokenizer-merging.ts";
import { type SymbolOptions, Symbols } from "./tokenizer-symbols.ts";

export interface BpeOptions {
  /** Id -> token. */
  readonly tokens: readonly (string | undefined)[];
  /** Token -> id. */
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Best first. */
  readonly merges: readonly (readonly [string, string])[];
  /** Stands for characters without a token. */
  readonly unknown: number | undefined;
  /** One `unknown` for neighbouring ones. */
  readonly fuseUnknown: boolean;
  /** Characters without a token are written as tokens `<0x..>` of their bytes. */
  readonly byteFallback: boolean;
  /** A word that is a token is that token, whatever the merges say. */
  readonly ignoreMerges: boolean;
}

const CACHED_LENGTH = 64;
const CACHED_WORDS = 20_000;

export class Bpe {
  readonly #options: BpeOptions & SymbolOptions;
  readonly #table: MergeTable;
  readonly #merging: Merging;
  readonly #symbols: Symbols;
  readonly #cache = new Map<string, readonly number[]>();
  #borders: Borders | undefined;

  /** Throws `RangeError` with the words for a merge whose parts or whose join is no token. */
  constructor(options: BpeOptions) {
    const { vocabulary, merges } = options;
    const units = new Int32Array(0x10000).fill(-1);
    for (const [token, id] of vocabulary) if (token.length === 1) units[token.charCodeAt(0)] = id;
    const bytes = options.byteFallback ? byteTokens(vocabulary) : undefined;
    this.#options = { ...options, units, bytes };
    this.#table = new MergeTable(merges.length);
    for (const [rank, [left, right]] of merges.entries()) {
      const [l, r, joined] = [vocabulary.get(left), vocabulary.get(right), vocabulary.get(left + right)];
      if (l === undefined || r === undefined || joined === undefined) {
        const missing = l === undefined ? left : r === undefined ? right : left + right;
        throw new RangeError(`merges[${rank}] needs ${quoted(missing)}, which is no token`);
      }
      this.#table.set(l, r, rank, joined);
    }
    this.#merging = new Merging(this.#table);
    this.#symbols = new Symbols(this.#options, 256);
  }

  /** Whether characters without a token of their own become tokens, at least one for each. */
  get losesNothing(): boolean {
    const { bytes, unknown, fuseUnknown } = this.#options;
    return (bytes !== undefined && !bytes.includes(-1)) || (unknown !== undefined && !fuseUnknown);
  }

  /** Whether a character of one UTF-16 unit has a token of its own. */
  hasUnit(character: string): boolean {
    return this.#options.units[character.charCodeAt(0)] !== -1;
  }

  /** Appends the ids of a word. */
  encode(word: string, out: number[]): void {
    const cached = this.#cache.get(word);
    if (cached !== undefined) {
      for (const id of cached) out.push(id);
      return;
    }
    const from = out.length;
    const whole = this.#whole(word);
    if (whole !== undefined) out.push(whole);
    else {
      this.#symbols.start();
      this.#symbols.add(word, 0, word.length);
      this.#symbols.end();
      this.#merging.start(this.#symbols.ids, 0, this.#symbols.count);
      this.#merging.run(Number.POSITIVE_INFINITY);
      this.#merging.collect(out);
    }
    if (word.length > CACHED_LENGTH) return;
    if (this.#cache.size >= CACHED_WORDS) this.#cache.clear();
    this.#cache.set(word, out.slice(from));
  }

  /**
   * The same for a long word, with a pause after about `slice` symbols of work. It is cut between symbols that no merge joins:
   * what is on one side merges as if the other side were not there.
   */
  *encodeLong(word: string, out: number[], slice: number): Generator<void> {
    const whole = this.#whole(word);
    if (whole !== undefined) {
      out.push(whole);
      return;
    }
    const symbols = new Symbols(this.#options, slice);
    for (let from = 0; from < word.length; ) {
      let to = Math.min(from + slice, word.length);
      if (to < word.length && (word.charCodeAt(to) & 0xfc00) === 0xdc00) to++;
      symbols.add(word, from, to);
      from = to;
      yield;
    }
    symbols.end();
    this.#borders ??= new Borders(this.#options.tokens, this.#table);
    const { ids, count } = symbols;
    const merging = new Merging(this.#table);
    let work = 0;
    for (let from = 0; from < count; ) {
      let to = from + 1;
      while (to < count && this.#borders.areCrossed(ids[to - 1] as number, ids[to] as number)) {
        if (++to % slice === 0) yield;
      }
      merging.start(ids, from, to);
      while (!merging.run(slice)) yield;
      merging.collect(out);
      work += to - from;
      from = to;
      if (work < slice) continue;
      work = 0;
      yield;
    }
  }

  #whole(word: string): number | undefined {
    return this.#options.ignoreMerges ? this.#options.vocabulary.get(word) : undefined;
  }
}

function byteTokens(vocabulary: ReadonlyMap<string, number>): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => {
    const hex = byte.toString(16).toUpperCase().padStart(2, "0");
    return vocabulary.get(`<0x${hex}>`) ?? -1;
  });
}

/** Between which characters merges may reach: the last one of a merge's left part and the first one of its right part. */
class Borders {
  readonly #first: Int32Array;
  readonly #last: Int32Array;
  readonly #crossed = new Set<number>();

  constructor(tokens: readonly (string | undefined)[], table: MergeTable) {
    this.#first = Int32Array.from(tokens, (token) => token?.codePointAt(0) ?? 0);
    this.#last = Int32Array.from(tokens, (token) => lastCodePoint(token ?? ""));
    for (const [left, right] of table.pairs()) this.#crossed.add(this.#key(left, right));
  }

  areCrossed(left: number, right: number): boolean {
    return this.#crossed.has(this.#key(left, right));
  }

  #key(left: number, right: number): number {
    return (this.#last[left] as number) * 0x110000 + (this.#first[right] as number);
  }
}

function lastCodePoint(token: string): number {
  const low = token.length > 1 && (token.charCodeAt(token.length - 1) & 0xfc00) === 0xdc00;
  return token.codePointAt(token.length - (low ? 2 : 1)) ?? 0;
}
