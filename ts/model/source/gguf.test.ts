import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { scratchFolder, TINY_GGUF, tinyGguf } from "../../../test/support/model-files.ts";
import { OctavoError } from "../../errors.ts";
import { describeModel } from "../families/index.ts";
import { Tokenizer } from "../tokenizer.ts";
import { huggingFaceName } from "./gguf-names.ts";
import { openModel } from "./index.ts";
import type { Manifest, TensorEntry } from "./manifest.ts";

const folder = scratchFolder();
const file = join(folder, "damaged.gguf");
const whole = tinyGguf();
const path = fileURLToPath(TINY_GGUF);

function openBytes(bytes: Uint8Array): Promise<Manifest> {
  writeFileSync(file, bytes);
  return openModel(file);
}

/** Where `text` starts in the file. */
const at = (text: string) => whole.indexOf(text);

describe("a GGUF file", () => {
  it("has the tensors that the gguf package finds, under the names that families know", async () => {
    /** Written by test/fixtures/tiny_gguf.py. */
    const expected: TensorEntry[] = JSON.parse(readFileSync(path.replace(/gguf$/, "json"), "utf8"));
    const { tensors } = await openModel(path);
    expect([...tensors.values()]).toEqual(
      expected.map((entry) => ({ ...entry, name: huggingFaceName(entry.name), file: path })),
    );
    expect([...tensors.keys()]).toContain("model.layers.0.self_attn.q_proj.weight");
  });

  it("is a model with a config and a tokenizer", async () => {
    const manifest = await openModel(path);
    expect(describeModel(manifest)).toMatchObject({ layers: 1, hidden: 32, heads: 2, kvHeads: 1, headDim: 16 });
    const tokenizer = Tokenizer.from(manifest);
    expect(tokenizer.encode("ab cd ab<|user|>h")).toEqual([11, 10, 13, 14, 1, 9]);
    expect(tokenizer.eosIds).toEqual([0]);
  });

  it("that is truncated anywhere is refused as such", { timeout: 120_000 }, async () => {
    const dataStart = 1824;
    const lengths = [...Array(dataStart + 1).keys(), dataStart + 1, whole.length - 8192, whole.length - 1];
    for (const length of lengths) {
      await expect(openBytes(whole.subarray(0, length)), `${length} bytes`).rejects.toMatchObject({
        code: "OCTAVO_MODEL_FILE_INVALID",
      });
    }
  });

  it("with any byte of its header changed is read within its bounds, or refused with a code", {
    timeout: 120_000,
  }, async () => {
    const bytes = Buffer.from(whole);
    let refused = 0;
    for (let i = 0; i < 1824; i++) {
      for (const flip of [0x01, 0xff]) {
        bytes[i] = (whole[i] ?? 0) ^ flip;
        try {
          const manifest = await openBytes(bytes);
          for (const { offset, bytes: size } of manifest.tensors.values()) {
            expect(offset + size).toBeLessThanOrEqual(whole.length);
          }
          Tokenizer.from(manifest);
          describeModel(manifest);
        } catch (error) {
          if (!OctavoError.isInstance(error)) throw new Error(`byte ${i} ^ ${flip}`, { cause: error });
          refused += 1;
        }
      }
      bytes[i] = whole[i] ?? 0;
    }
    expect(refused).toBeGreaterThan(500);
  });

  it("that claims more tensors, tokens or bytes than it has room for is refused before memory is taken", async () => {
    const claims: [string, number][] = [
      ["tensors", 8],
      ["metadata entries", 16],
      ["length of the first key", 24],
      ["elements of the vocabulary", at("tokenizer.ggml.tokens") + "tokenizer.ggml.tokens".length + 8],
    ];
    for (const [what, position] of claims) {
      for (const count of [2n ** 63n, 2n ** 53n - 1n, 2n ** 40n]) {
        const bytes = Buffer.from(whole);
        bytes.writeBigUInt64LE(count, position);
        await expect(openBytes(bytes), `${count} ${what}`).rejects.toMatchObject({ code: "OCTAVO_MODEL_FILE_INVALID" });
      }
    }
  });

  it("of another architecture, version or element type is refused by name", async () => {
    const architecture = Buffer.from(whole);
    architecture.write("llamb", at("general.architecture") + "general.architecture".length + 12);
    await expect(openBytes(architecture)).rejects.toMatchObject({
      code: "OCTAVO_UNKNOWN_ARCHITECTURE",
      message: expect.stringContaining("llamb"),
    });
    const version = Buffer.from(whole);
    version.writeUInt32LE(1, 4);
    await expect(openBytes(version)).rejects.toMatchObject({ code: "OCTAVO_UNSUPPORTED_MODEL" });
    const type = Buffer.from(whole);
    type.writeUInt32LE(10, at("output_norm.weight") + "output_norm.weight".length + 4 + 8);
    await expect(openBytes(type)).rejects.toMatchObject({
      code: "OCTAVO_UNSUPPORTED_MODEL",
      message: expect.stringContaining("Q2_K"),
    });
  });

  it("with two tensors over the same bytes is refused", async () => {
    const bytes = Buffer.from(whole);
    const offset = at("blk.0.attn_norm.weight") + "blk.0.attn_norm.weight".length + 4 + 8 + 4;
    bytes.writeBigUInt64LE(1920n, offset);
    await expect(openBytes(bytes)).rejects.toMatchObject({
      code: "OCTAVO_MODEL_FILE_INVALID",
      message: expect.stringContaining("overlaps"),
    });
  });
});
