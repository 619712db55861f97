/** If these fail, a model loads without a part of its weights, or with a quantiser's codes for weights. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OPTIONS } from "../../../test/support/model-options.ts";
import { tinyConfig, writeTinyModel } from "../../../test/support/tiny-model.ts";
import { planModel } from "../../deploy/plan-model.ts";
import { openModel } from "../source/index.ts";
import type { Manifest, TensorEntry } from "../source/manifest.ts";
import { buildModel, modelOfConfig } from "./index.ts";

const model = modelOfConfig("config.json", tinyConfig());

/** The tiny model with one more tensor. */
function withTensor(name: string): Manifest {
  const entry: TensorEntry = { name, file: "", offset: 0, bytes: 8, type: "F16", shape: [4] };
  return { ...model, tensors: new Map(model.tensors).set(name, entry) };
}

const refused = (manifest: Manifest, ...messages: RegExp[]) => {
  for (const message of messages) {
    expect(() => buildModel(manifest, OPTIONS)).toThrow(
      expect.objectContaining({ code: "OCTAVO_UNSUPPORTED_MODEL", message: expect.stringMatching(message) }),
    );
  }
};

describe("a tensor that the program does not use", () => {
  it.each([
    "model.layers.0.self_attn.q_proj.bias",
    "model.layers.0.self_attn.q_norm.weight",
    "model.layers.0.pre_feedforward_layernorm.weight",
    "model.layers.2.input_layernorm.weight",
    "model.layers.0.self_attn.q_proj.lora_A.weight",
    "model.embed_tokens.bias",
    "score.weight",
  ])("is refused by its name: %s", (name) => refused(withTensor(name), new RegExp(name)));

  it("is refused whatever its name", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 100 }), (name) => {
        fc.pre(!model.tensors.has(name));
        expect(() => buildModel(withTensor(name), OPTIONS)).toThrow(
          expect.objectContaining({ message: expect.stringContaining(name) }),
        );
      }),
    );
  });

  it.each([
    "model.layers.0.self_attn.rotary_emb.inv_freq",
    "model.rotary_emb.inv_freq",
    "model.layers.1.self_attn.masked_bias",
    "model.embeddings.position_ids",
  ])("is left out where every program computes it anew: %s", (name) => {
    expect(buildModel(withTensor(name), OPTIONS)).toEqual(buildModel(model, OPTIONS));
    const buffer = { ...model, unloadable: new Map([[name, "I64"]]) };
    expect(buildModel(buffer, OPTIONS)).toEqual(buildModel(model, OPTIONS));
  });

  it("says how many there are, and not the names of all", () => {
    const tensors = new Map(model.tensors);
    for (let i = 0; i < 1000; i++)
      tensors.set(`extra.${i}`, { ...withTensor("x").tensors.get("x")!, name: `extra.${i}` });
    refused({ ...model, tensors }, /1000 tensors.*extra\.0.*and 995 more/);
    expect(() => buildModel(withTensor("n".repeat(100_000)), OPTIONS)).toThrow(/^.{0,1000}$/);
  });
});

describe("a head beside tied embeddings", () => {
  it("is the model's head", () => {
    const tied = { ...model, config: { ...model.config, tie_word_embeddings: true } };
    expect(buildModel(tied, OPTIONS)).toEqual(buildModel(model, OPTIONS));
  });
});

/** A folder of the tiny model, in which the safetensors header is changed and its data is not. */
async function folderWith(change: (header: Record<string, { dtype: string; shape: number[] }>) => void): Promise<{
  path: string;
  [Symbol.asyncDispose](): Promise<void>;
}> {
  const tiny = await writeTinyModel();
  const file = join(tiny.path, "model.safetensors");
  const bytes = await readFile(file);
  const end = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, end).toString());
  change(header);
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(file, Buffer.concat([length, text, bytes.subarray(end)]));
  return tiny;
}

const Q = "model.layers.0.self_attn.q_proj";

describe("a checkpoint of a quantiser", () => {
  /** The file's 16-bit weights seen as twice as many codes. */
  const codes = (name: string, dtype: string, shape: number[]) => (header: Record<string, unknown>) => {
    const { data_offsets } = header[`${Q}.weight`] as { data_offsets: [number, number] };
    delete header[`${Q}.weight`];
    header[name] = { dtype, shape, data_offsets };
  };

  it.each([
    ["int8 codes as weights", `${Q}.weight`, "I8", [64, 128], /I8.*q_proj\.weight/],
    ["bitsandbytes' 4-bit codes", `${Q}.weight`, "U8", [8192, 1], /U8.*q_proj\.weight/],
    ["GPTQ's and AWQ's codes", `${Q}.qweight`, "I32", [32, 64], /I32.*q_proj\.qweight.*GPTQ or AWQ.*16-bit/],
    ["compressed-tensors' codes", `${Q}.weight_packed`, "I32", [64, 32], /weight_packed.*compressed-tensors/],
    ["MLX's codes", `${Q}.weight`, "U32", [64, 32], /U32.*q_proj\.weight/],
  ])("with %s is refused by the tensor's name, planned or loaded", async (_, name, dtype, shape, message) => {
    await using folder = await folderWith(codes(name, dtype, shape));
    refused(await openModel(folder.path), message);
    await expect(planModel(folder.path, { devices: "8GiB" })).rejects.toMatchObject({
      code: "OCTAVO_UNSUPPORTED_MODEL",
      message: expect.stringMatching(message),
    });
  });

  it("with scales beside weights is refused by their name", () => {
    refused(withTensor(`${Q}.SCB`), /q_proj\.SCB.*bitsandbytes int8/);
    refused(withTensor(`${Q}.weight_scale`), /q_proj\.weight_scale.*compressed-tensors/);
  });
});
