/**
 * Headers that claim more than a model has. If this fails, a file of a few bytes (the rest may be holes) ends the process or keeps it
 * for minutes.
 */
import { appendFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { scratchFolder } from "../../../test/support/model-files.ts";
import { openModel } from "./index.ts";

const root = scratchFolder();
let files = 0;

const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const text = (value: string) => Buffer.concat([u64(value.length), Buffer.from(value)]);
const start = (tensors: number, entries: number) =>
  Buffer.concat([Buffer.from("GGUF"), u32(3), u64(tensors), u64(entries)]);
const [UINT8, BOOL, STRING, ARRAY] = [0, 7, 8, 9];

/** These bytes, and holes up to `size`. */
function file(size: number, ...parts: readonly Buffer[]): string {
  const path = join(root, `${files++}.gguf`);
  writeFileSync(path, Buffer.concat(parts));
  truncateSync(path, size);
  return path;
}

const entry = (key: string, ...value: readonly Buffer[]) => Buffer.concat([start(0, 1), text(key), ...value]);
const array = (type: number, count: number) => Buffer.concat([u32(type), u64(count)]);

const string = (value: string) => Buffer.concat([u32(STRING), text(value)]);
const strings = (values: readonly string[]) =>
  Buffer.concat([u32(ARRAY), array(STRING, values.length), ...values.map(text)]);

/** The keys up to where the vocabulary is read. */
function vocabulary(tokens: Buffer): Buffer {
  const sizes = ["context_length", "embedding_length", "feed_forward_length", "block_count", "vocab_size"];
  const entries = [
    [text("general.architecture"), string("llama")],
    ...[...sizes, "attention.head_count"].map((key) => [text(`llama.${key}`), u32(4), u32(2)]),
    [text("llama.attention.layer_norm_rms_epsilon"), u32(6), Buffer.from(Float32Array.of(1e-5).buffer)],
    [text("tokenizer.ggml.model"), string("llama")],
    [text("tokenizer.ggml.tokens"), tokens],
  ];
  return Buffer.concat([start(0, entries.length), ...entries.flat()]);
}

it("a vocabulary whose tokens are as long as books is refused before their parts are looked up", async () => {
  const header = vocabulary(strings(["<unk>", "<s>", "</s>", "a".repeat(1e6)]));
  await expect(openModel(file(header.length, header))).rejects.toMatchObject({
    code: "OCTAVO_MODEL_FILE_INVALID",
    message: expect.stringMatching(/tokenizer\.ggml\.tokens has tokens of up to 1000000 characters/),
  });
});

it("a vocabulary of more tokens than any model has is refused before anything is made of them", async () => {
  const header = vocabulary(Buffer.concat([u32(ARRAY), array(STRING, 1.1e6), Buffer.alloc(8 * 1.1e6)]));
  await expect(openModel(file(header.length, header))).rejects.toMatchObject({
    code: "OCTAVO_MODEL_FILE_INVALID",
    message: expect.stringMatching(/tokenizer\.ggml\.tokens has 1100000 elements/),
  });
});

describe("a GGUF header is refused before anything is allocated for", () => {
  it.each<[string, Buffer, RegExp]>([
    ["120 million elements", entry("some.list", u32(ARRAY), array(BOOL, 120e6)), /"some.list" has 120000000 elements/],
    ["arrays of so many empty arrays", entry("some.list", u32(ARRAY), array(ARRAY, 9e6)), /"some.list" has 9000000 el/],
    ["so many empty strings", entry("some.list", u32(ARRAY), array(STRING, 9e6)), /"some.list" has 9000000 elements/],
    ["a string of 200 MB", entry("some.text", u32(STRING), u64(200e6)), /"some.text" has 200000000 bytes in a string/],
    ["a million entries", start(0, 1e6), /the header has 1000000 metadata entries/],
    ["a million tensors", start(1e6, 0), /the header has 1000000 tensors/],
    ["more elements than bytes are left", entry("some.list", u32(ARRAY), array(UINT8, 1e9)), /"some.list" says it has/],
  ])("%s", async (_, header, message) => {
    const path = file(300e6, header);
    await expect(openModel(path)).rejects.toMatchObject({
      code: "OCTAVO_MODEL_FILE_INVALID",
      message: expect.stringMatching(message),
    });
  });

  it("arrays that are too many together, each within bounds", async () => {
    const list = (index: number) => [text(`list.${index}`), u32(ARRAY), array(UINT8, 3e6), Buffer.alloc(3e6)];
    const path = join(root, "many.gguf");
    writeFileSync(path, start(0, 3));
    for (const index of [0, 1, 2]) appendFileSync(path, Buffer.concat(list(index)));
    await expect(openModel(path)).rejects.toMatchObject({
      code: "OCTAVO_MODEL_FILE_INVALID",
      message: expect.stringContaining('"list.2" has 9000000 elements'),
    });
  });
});
