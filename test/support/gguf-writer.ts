/** A GGUF file of float32 tensors, as llama.cpp's converters lay it out. */
import { writeFileSync } from "node:fs";

export interface GgufTensor {
  readonly name: string;
  /** Outermost first. */
  readonly shape: readonly number[];
  /** Zeros when left out. */
  readonly data?: Float32Array;
}

/** Numbers are written as float32 when they are no whole numbers, else as uint32. */
export type GgufValue = number | boolean | string | readonly string[];

export function writeGguf(
  file: string,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): void {
  const header: Buffer[] = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(Object.keys(metadata).length)];
  for (const [key, value] of Object.entries(metadata)) header.push(text(key), ...bytesOf(value));
  const data: Buffer[] = [];
  let offset = 0;
  for (const { name, shape, data: given } of tensors) {
    const values = given ?? new Float32Array(shape.reduce((product, n) => product * n, 1));
    header.push(text(name), u32(shape.length), ...[...shape].reverse().map(u64), u32(0), u64(offset));
    const bytes = padded(Buffer.from(values.buffer, values.byteOffset, values.byteLength));
    data.push(bytes);
    offset += bytes.length;
  }
  writeFileSync(file, Buffer.concat([padded(Buffer.concat(header)), ...data]));
}

function bytesOf(value: GgufValue): Buffer[] {
  if (typeof value === "string") return [u32(8), text(value)];
  if (typeof value === "boolean") return [u32(7), Buffer.from([value ? 1 : 0])];
  if (typeof value !== "number") return [u32(9), u32(8), u64(value.length), ...value.map(text)];
  if (Number.isInteger(value)) return [u32(4), u32(value)];
  const float = Buffer.alloc(4);
  float.writeFloatLE(value);
  return [u32(6), float];
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((32 - (bytes.length % 32)) % 32)]);
}
