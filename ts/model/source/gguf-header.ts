/**
 * A bounded reader of GGUF headers (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 *
 * `@huggingface/gguf` 0.4.6 is not used on the runtime path: it pads what it has read with zeros, so that a truncated
 * file is accepted with empty tensors, and cuts a string short that crosses one of its chunks.
 */
import { closeSync, fstatSync, readSync } from "node:fs";
import { OctavoError } from "../../errors.ts";
import { quoted } from "../../quoted.ts";
import { fileSize, openRegularSync } from "../../regular-file.ts";
import { invalid } from "./ranges.ts";

export type MetadataValue = number | bigint | boolean | string | readonly MetadataValue[];
export type Metadata = ReadonlyMap<string, MetadataValue>;

export interface GgufTensorInfo {
  readonly name: string;
  /** Innermost first, as in the file. */
  readonly dimensions: readonly number[];
  readonly type: number;
  /** From the start of the data. */
  readonly offset: number;
}

export interface GgufHeader {
  readonly metadata: Metadata;
  readonly tensors: readonly GgufTensorInfo[];
  /** Where the tensors' data starts, in bytes. */
  readonly dataStart: number;
  readonly fileBytes: number;
}

/** Big enough for a vocabulary of a few million tokens; a header beyond it is no header. */
const MAX_HEADER_BYTES = 256 * 1024 * 1024;
/**
 * Bounds of what a header may make this process allocate, however large the file: a byte of it takes up to 40 in memory. A
 * vocabulary of a million tokens, with scores, types and merges, has 5 million elements; the largest models 100,000 tensors.
 */
const MAX_ELEMENTS = 8e6;
const MAX_ENTRIES = 65_536;
const MAX_TENSORS = 262_144;
const MAX_STRING_BYTES = 16 * 1024 * 1024;
const FIRST_READ = 4 * 1024 * 1024;
const MAX_ARRAY_DEPTH = 4;

const ARRAY = 9;
/** Smallest number of bytes of a value, by GGUF value type: bounds every count before anything is allocated for it. */
const VALUE_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];
/** A tensor's entry: length of its name, rank, type, offset. */
const TENSOR_BYTES = 8 + 4 + 4 + 8;

/** Throws `OCTAVO_MODEL_FILE_INVALID`, `OCTAVO_UNSUPPORTED_MODEL` (version, byte order) or `OCTAVO_FILE_NOT_READABLE`. */
export function readGgufHeader(file: string): GgufHeader {
  const input = new HeaderInput(file);
  try {
    return parse(input);
  } finally {
    input.close();
  }
}

function parse(input: HeaderInput): GgufHeader {
  if (input.u32() !== 0x46554747) throw invalid(input.file, "it does not start with GGUF");
  const version = input.u32();
  if (version !== 2 && version !== 3) {
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `${input.file}: GGUF version ${version}; read are 2 and 3, in little-endian byte order`,
    );
  }
  const tensorCount = input.count(TENSOR_BYTES, "tensors");
  const metadataCount = input.count(8 + 4 + 1, "metadata entries");
  atMost(input.file, tensorCount, MAX_TENSORS, "tensors");
  atMost(input.file, metadataCount, MAX_ENTRIES, "metadata entries");
  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < metadataCount; i++) {
    const key = input.string();
    if (metadata.has(key)) throw invalid(input.file, `metadata ${quoted(key)} is there twice`);
    metadata.set(key, input.metadata(key));
  }
  const tensors: GgufTensorInfo[] = [];
  for (let i = 0; i < tensorCount; i++) tensors.push(readTensor(input));
  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || alignment < 1 || alignment > 65536 || (alignment & (alignment - 1)) !== 0)
    throw invalid(input.file, `general.alignment is ${quoted(alignment)}, not a power of two up to 65536`);
  const dataStart = Math.ceil(input.position / alignment) * alignment;
  return { metadata, tensors, dataStart, fileBytes: input.fileBytes };
}

function readTensor(input: HeaderInput): GgufTensorInfo {
  const name = input.string();
  const rank = input.u32();
  if (rank > 4) throw invalid(input.file, `tensor ${quoted(name)} has ${rank} dimensions; ggml has up to 4`);
  const dimensions: number[] = [];
  for (let i = 0; i < rank; i++) dimensions.push(input.size());
  return { name, dimensions, type: input.u32(), offset: input.size() };
}

/** The start of a file, read as far as it is needed. Every read is checked against the end of the file. */
class HeaderInput {
  readonly file: string;
  readonly fileBytes: number;
  position = 0;
  readonly #descriptor: number;
  #buffer = Buffer.alloc(0);
  /** Of all arrays so far. */
  #elements = 0;
  /** What is being read, for refusals. */
  #where = "the header";

  constructor(file: string) {
    this.file = file;
    this.#descriptor = openRegularSync(file);
    try {
      this.fileBytes = fileSize(file, fstatSync(this.#descriptor));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  /** Moves over `bytes` and returns where they start in the buffer. */
  #take(bytes: number): number {
    const start = this.position;
    const end = start + bytes;
    if (end > this.#buffer.length) this.#read(end);
    this.position = end;
    return start;
  }

  #read(end: number): void {
    const limit = Math.min(this.fileBytes, MAX_HEADER_BYTES);
    if (end > limit) {
      throw invalid(
        this.file,
        `its header goes on past byte ${limit} (${this.#where}): the file is truncated or damaged; fetch it again`,
      );
    }
    const have = this.#buffer.length;
    const buffer = Buffer.alloc(Math.min(limit, Math.max(FIRST_READ, end, 2 * have)));
    this.#buffer.copy(buffer);
    let filled = have;
    while (filled < buffer.length) {
      const got = readSync(this.#descriptor, buffer, filled, buffer.length - filled, filled);
      if (got === 0) throw invalid(this.file, "it became shorter while it was read");
      filled += got;
    }
    this.#buffer = buffer;
  }

  u32(): number {
    const at = this.#take(4);
    return this.#buffer.readUInt32LE(at);
  }

  /** A uint64 that must be an exact number. */
  size(): number {
    const at = this.#take(8);
    const value = this.#buffer.readUInt32LE(at) + this.#buffer.readUInt32LE(at + 4) * 2 ** 32;
    if (!Number.isSafeInteger(value)) throw invalid(this.file, `a size of ${value} at byte ${at}`);
    return value;
  }

  /** A uint64 that counts things of at least `bytesEach` which must still fit into the file. */
  count(bytesEach: number, what: string): number {
    const count = this.size();
    const room = this.fileBytes - this.position;
    if (count * bytesEach > room) {
      throw invalid(
        this.file,
        `${this.#where} says it has ${count} ${what}; ${room} bytes are left: truncated or damaged`,
      );
    }
    return count;
  }

  string(): string {
    const bytes = this.count(1, "bytes of a string");
    atMost(this.file, bytes, MAX_STRING_BYTES, "bytes in a string", this.#where);
    const at = this.#take(bytes);
    return this.#buffer.toString("utf8", at, at + bytes);
  }

  /** The value of a metadata entry. */
  metadata(key: string): MetadataValue {
    this.#where = `metadata ${quoted(key)}`;
    const value = this.#value(this.u32(), 0);
    this.#where = "the header";
    return value;
  }

  #value(type: number, depth: number): MetadataValue {
    if (type === ARRAY) return this.#array(depth);
    const at = type === 8 ? 0 : this.#take(this.#bytesOf(type));
    const b = this.#buffer;
    switch (type) {
      case 0:
        return b.readUInt8(at);
      case 1:
        return b.readInt8(at);
      case 2:
        return b.readUInt16LE(at);
      case 3:
        return b.readInt16LE(at);
      case 4:
        return b.readUInt32LE(at);
      case 5:
        return b.readInt32LE(at);
      case 6:
        return b.readFloatLE(at);
      case 7:
        return b.readUInt8(at) !== 0;
      case 8:
        return this.string();
      case 10:
        return exact(b.readBigUInt64LE(at));
      case 11:
        return exact(b.readBigInt64LE(at));
      default:
        return b.readDoubleLE(at);
    }
  }

  #array(depth: number): MetadataValue[] {
    if (depth >= MAX_ARRAY_DEPTH)
      throw invalid(this.file, `${this.#where} has arrays nested deeper than ${MAX_ARRAY_DEPTH}`);
    const type = this.u32();
    const count = this.count(this.#bytesOf(type), "elements in an array");
    this.#elements += count;
    atMost(this.file, this.#elements, MAX_ELEMENTS, "elements, with what comes before it,", this.#where);
    const values: MetadataValue[] = [];
    for (let i = 0; i < count; i++) values.push(this.#value(type, depth + 1));
    return values;
  }

  #bytesOf(type: number): number {
    const bytes = VALUE_BYTES[type];
    if (bytes === undefined)
      throw invalid(this.file, `${this.#where} is of the unknown type ${type}, before byte ${this.position}`);
    return bytes;
  }
}

/** What no model has is refused before anything is allocated for it. */
function atMost(file: string, count: number, limit: number, what: string, where = "the header"): void {
  if (count > limit) throw invalid(file, `${where} has ${count} ${what}; read are up to ${limit}`);
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
