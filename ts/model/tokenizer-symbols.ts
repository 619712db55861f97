/** The characters of a word as token ids, which merging starts from. */

export interface SymbolOptions {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Of characters of one UTF-16 unit: their token, or -1. */
  readonly units: Int32Array;
  /** Tokens of the 256 bytes, -1 for those that have none; undefined without `byte_fallback`. */
  readonly bytes: Int32Array | undefined;
  readonly unknown: number | undefined;
  readonly fuseUnknown: boolean;
}

const utf8 = new TextEncoder();

/**
 * A character is its token; else its bytes' tokens, if there are all of them; else the unknown token, which waits for the next
 * character that is a token (so bytes after it come before it: as in the Rust library); else nothing.
 */
export class Symbols {
  ids: Int32Array;
  count = 0;
  readonly #options: SymbolOptions;
  #unknownWaits = false;

  constructor(options: SymbolOptions, room: number) {
    this.#options = options;
    this.ids = new Int32Array(room);
  }

  start(): void {
    this.count = 0;
    this.#unknownWaits = false;
  }

  /** Characters of `word` from one UTF-16 index to another, neither within a surrogate pair. */
  add(word: string, from: number, to: number): void {
    const { units, vocabulary } = this.#options;
    for (let at = from; at < to; at++) {
      const unit = word.charCodeAt(at);
      let id = units[unit] as number;
      let length = 1;
      if ((unit & 0xfc00) === 0xd800 && (word.charCodeAt(at + 1) & 0xfc00) === 0xdc00) {
        length = 2;
        id = vocabulary.get(word.slice(at, at + 2)) ?? -1;
      }
      if (id === -1) this.#addUnknown(word.slice(at, at + length));
      else {
        this.#flush();
        this.#push(id);
      }
      at += length - 1;
    }
  }

  end(): void {
    this.#flush();
  }

  #addUnknown(character: string): void {
    const { bytes, unknown, fuseUnknown } = this.#options;
    if (bytes !== undefined) {
      const ids = Array.from(utf8.encode(character), (byte) => bytes[byte] as number);
      if (!ids.includes(-1)) {
        for (const id of ids) this.#push(id);
        return;
      }
    }
    if (unknown === undefined) return;
    if (!fuseUnknown) this.#flush();
    this.#unknownWaits = true;
  }

  #flush(): void {
    if (this.#unknownWaits) this.#push(this.#options.unknown as number);
    this.#unknownWaits = false;
  }

  #push(id: number): void {
    if (this.count === this.ids.length) {
      const larger = new Int32Array(2 * this.count);
      larger.set(this.ids);
      this.ids = larger;
    }
    this.ids[this.count++] = id;
  }
}
