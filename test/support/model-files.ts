/** Model files for tests, in a folder that goes away with the test. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

/** A new folder, removed after the test file's last test. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "octavo-source-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Written by test/fixtures/tiny_gguf.py: one layer, all its element types, a vocabulary of 15 tokens. */
export const TINY_GGUF = new URL("../fixtures/tiny-llama.gguf", import.meta.url);

export function tinyGguf(): Buffer {
  return readFileSync(TINY_GGUF);
}

export interface TinyTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** A safetensors file with this header, and as much data as given. */
export function writeSafetensors(file: string, header: object | string, dataBytes: number): void {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(file, Buffer.concat([length, text, Buffer.alloc(dataBytes)]));
}

/** F32 tensors of these shapes, one after the other. */
export function float32Header(shapes: Readonly<Record<string, readonly number[]>>): {
  header: Record<string, TinyTensor>;
  bytes: number;
} {
  const header: Record<string, TinyTensor> = {};
  let bytes = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const end = bytes + 4 * shape.reduce((product, n) => product * n, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [bytes, end] };
    bytes = end;
  }
  return { header, bytes };
}

export const TINY_CONFIG = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  vocab_size: 15,
  max_position_embeddings: 128,
};
