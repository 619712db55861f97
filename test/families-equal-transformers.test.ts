/**
 * Each family computes what its authors' code computes. If this fails, models load, run fast, and say other things than
 * they were trained to say.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ResidentModel } from "../ts/deploy/resident.ts";
import { openModel } from "../ts/model/source/index.ts";
import { rankPrograms } from "../ts/plan/programs.ts";
import { MODEL_DEFAULTS } from "../ts/plan/settings.ts";
import { Pool } from "../ts/pool.ts";
import { packInputs, unpackOutputs } from "../ts/program/payload.ts";
import { findPython } from "../ts/python.ts";
import type { Device } from "../ts/tensor/device.ts";
import { DEVICES } from "./support/devices.ts";
import { tokenIds } from "./support/random.ts";
import { type TinyModel, type TinyOptions, writeTinyModel } from "./support/tiny-model.ts";

/** Longer than the window, and several pages. */
const LENGTH = 70;

async function logitsOf(device: Device, folder: string, ids: readonly number[]): Promise<Float32Array> {
  const manifest = await openModel(folder);
  const resident = new ResidentModel(device, manifest, "test");
  const pages = Math.ceil(LENGTH / 16);
  const sizes = { T: LENGTH, S: LENGTH, B: 1, J: pages, H: 0, D: 0, Q: 0 };
  const output = { type: "logits" } as const;
  const exact = { ...MODEL_DEFAULTS, weights: "16bit", context: 128, pages, rows: 1, output } as const;
  const { program } = await resident.defineProgram(rankPrograms(manifest, exact)[0]!, sizes);
  const counting = Int32Array.from({ length: LENGTH }, (_, i) => i);
  const payload = packInputs(program, sizes, {
    tokens: Int32Array.from(ids),
    positions: counting,
    slots: counting,
    pages: counting.slice(0, pages),
    lengths: Int32Array.of(LENGTH),
    starts: Int32Array.of(0, LENGTH),
    rows: counting,
  });
  const result = await program.step(sizes, payload);
  return unpackOutputs(program, sizes, result.payload).logits as Float32Array;
}

/** A model whose rope was made for contexts of 32 tokens and is stretched to 128. */
const stretched = (rope_scaling: Readonly<Record<string, unknown>>) => ({
  config: { max_position_embeddings: 128, rope_scaling: { ...rope_scaling, factor: 4 } },
});
const CASES: readonly (readonly [string, TinyOptions])[] = [
  ["llama", {}],
  ["llama with tied embeddings in bfloat16", { tied: true, type: "BF16", seed: 2 }],
  ["qwen2 (biases)", { family: "qwen2", seed: 3 }],
  ["mistral (a window of 24)", { family: "mistral", window: 24, seed: 4 }],
  ["linear rope scaling", stretched({ rope_type: "linear" })],
  ["yarn rope scaling", stretched({ rope_type: "yarn", original_max_position_embeddings: 32 })],
  [
    "llama3 rope scaling",
    stretched({
      rope_type: "llama3",
      original_max_position_embeddings: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
    }),
  ],
  [
    "one kv head per head, a head size that is not hidden / heads",
    { config: { num_key_value_heads: 4, head_dim: 24 } },
  ],
  [
    "mistral's number of kv heads",
    { family: "mistral", config: { num_attention_heads: 16, num_key_value_heads: undefined } },
  ],
  ["a head of its own where tied embeddings are said", { said: { tie_word_embeddings: true }, seed: 6 }],
  [
    "rope as transformers 5 writes it",
    {
      config: {
        rope_theta: undefined,
        rope_parameters: { rope_type: "yarn", rope_theta: 5000, factor: 4, original_max_position_embeddings: 32 },
        max_position_embeddings: 128,
      },
    },
  ],
  ["gelu and biases everywhere", { config: { hidden_act: "gelu_pytorch_tanh", attention_bias: true, mlp_bias: true } }],
];

const IDS = tokenIds(5, LENGTH, 300);
let pool: Pool;
let models: TinyModel[];
beforeAll(async () => {
  [pool, models] = await Promise.all([
    Pool.start({ devices: DEVICES, threads: 2 }),
    Promise.all(CASES.map(([, options]) => writeTinyModel(options))),
  ]);
  const script = join(import.meta.dirname, "support/transformers_logits.py");
  await execa(findPython(), [script, IDS.join(), ...models.map(({ path }) => path)]);
}, 180_000); // Importing transformers beside other tests.
afterAll(async () => {
  await Promise.all([pool.dispose(), ...models.map((model) => model[Symbol.asyncDispose]())]);
});

describe.each(CASES.map(([name], index) => [name, index] as const))("%s", (_name, index) => {
  it.each(DEVICES)("has the logits of transformers on %s", async (device) => {
    const { path } = models[index]!;
    const expected = new Float32Array(new Uint8Array(await readFile(join(path, "logits.bin"))).buffer);
    const logits = await logitsOf(pool.device(device), path, IDS);
    expect(logits.length).toBe(expected.length);
    const largest = expected.reduce((size, value) => Math.max(size, Math.abs(value)), 0);
    const worst = expected.reduce((size, value, i) => Math.max(size, Math.abs(value - logits[i]!)), 0);
    // Float32 sums in another order are 1e-6 apart; now and then that moves a number of attention to the next integer, 2^-11 of
    // the largest in its row away at most, and attention averages it away. A wrong family is wrong by the size of the logits.
    expect(worst).toBeLessThan(2 ** -11 * largest);
  });
});
