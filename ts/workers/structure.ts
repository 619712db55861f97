/**
 * One walk over msgpack bytes that says whether they are one complete value of the kinds a worker's header may have:
 * nil, booleans, integers, strings, arrays, and maps with string keys. No worker message has a float, so a float is
 * always one where an integer is due; binary and extension types have no place in a header either.
 */
import { MAX_DEPTH } from "../../protocol/messages.ts";
import { OctavoError } from "../errors.ts";

/** The number of entries of all maps, so that the caller sees whether a key came twice. */
export function checkStructure(bytes: Buffer): number {
  const walk = new Walk(bytes);
  walk.value(0);
  if (walk.offset !== bytes.length) throw broken(`${bytes.length - walk.offset} bytes after the end of a header`);
  return walk.entries;
}

class Walk {
  offset = 0;
  entries = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  value(depth: number): void {
    if (depth > MAX_DEPTH) throw broken(`a header nested deeper than ${MAX_DEPTH}`);
    const type = this.#unsigned(1);
    if (type <= 0x7f || type >= 0xe0) return;
    if (type <= 0x8f) this.#map(type & 0x0f, depth);
    else if (type <= 0x9f) this.#array(type & 0x0f, depth);
    else if (type <= 0xbf) this.#skip(type & 0x1f);
    else if (type === 0xc0 || type === 0xc2 || type === 0xc3) return;
    else if (type >= 0xcc && type <= 0xcf) this.#skip(1 << (type - 0xcc));
    else if (type >= 0xd0 && type <= 0xd3) this.#skip(1 << (type - 0xd0));
    else if (type >= 0xd9 && type <= 0xdb) this.#skip(this.#unsigned(1 << (type - 0xd9)));
    else if (type === 0xdc || type === 0xdd) this.#array(this.#unsigned(type === 0xdc ? 2 : 4), depth);
    else if (type === 0xde || type === 0xdf) this.#map(this.#unsigned(type === 0xde ? 2 : 4), depth);
    else throw broken(`msgpack type 0x${type.toString(16)} in a header`);
  }

  #array(length: number, depth: number): void {
    this.#claim(length);
    for (let index = 0; index < length; index++) this.value(depth + 1);
  }

  #map(length: number, depth: number): void {
    this.#claim(2 * length);
    this.entries += length;
    for (let index = 0; index < length; index++) {
      const key = this.#bytes[this.offset] ?? 0xc1;
      if (!((key >= 0xa0 && key <= 0xbf) || (key >= 0xd9 && key <= 0xdb))) throw broken("a key that is not a string");
      this.value(depth + 1);
      this.value(depth + 1);
    }
  }

  /** Each element takes a byte at least: a claim of more is refused before it is believed. */
  #claim(length: number): void {
    if (length > this.#bytes.length - this.offset) throw broken(`a header cut short at byte ${this.#bytes.length}`);
  }

  #skip(length: number): void {
    this.#claim(length);
    this.offset += length;
  }

  #unsigned(width: number): number {
    this.#claim(width);
    const value = this.#bytes.readUIntBE(this.offset, width);
    this.offset += width;
    return value;
  }
}

function broken(how: string): OctavoError {
  return new OctavoError("OCTAVO_PROTOCOL", how);
}
