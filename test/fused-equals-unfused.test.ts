/**
 * Fusing ops changes no bit, on real workers. If this fails, a faster program is a different model, and results depend on
 * which passes a version of Octavo happens to run.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Sizes } from "../protocol/messages.ts";
import { ResidentModel } from "../ts/engine/resident.ts";
import { buildModel, type ModelOptions } from "../ts/model/families/index.ts";
import { openModel } from "../ts/model/source/index.ts";
import type { Manifest } from "../ts/model/source/manifest.ts";
import { Pool } from "../ts/pool/pool.ts";
import { fuse } from "../ts/program/fuse.ts";
import { type PayloadData, packInputs, unpackOutputs } from "../ts/program/payload.ts";
import type { Program } from "../ts/program/program.ts";
import type { Threshold } from "../ts/program/threshold.ts";
import type { Device } from "../ts/tensor/device.ts";
import { DEVICES } from "./support/devices.ts";
import { tokenIds } from "./support/random.ts";
import { type TinyModel, type TinyOptions, writeTinyModel } from "./support/tiny-model.ts";

const LIMITS: Sizes = { T: 40, S: 40, B: 1, J: 4, H: 0, D: 0, Q: 0 };
const PAGES = 4;

/** A prompt of 37 tokens (three pages, the last one not full), then three more, one by one: logits of every row. */
async function logitsOf(device: Device, manifest: Manifest, program: Program): Promise<Float32Array[]> {
  const resident = new ResidentModel(device, manifest, "test");
  const { program: handle } = await resident.defineProgram(program, LIMITS);
  const tokens = tokenIds(3, 40, Number(manifest.config.vocab_size));
  const results: Float32Array[] = [];
  for (const [from, to] of [
    [0, 37],
    [37, 38],
    [38, 39],
    [39, 40],
  ] as const) {
    const T = to - from;
    const sizes = { ...LIMITS, T, S: T, J: Math.ceil(to / 16) };
    // Pages in descending order, so that a slot is not its position.
    const page = (position: number) => PAGES - 1 - Math.floor(position / 16);
    const range = <N>(value: (i: number) => N) => Array.from({ length: T }, (_, i) => value(from + i));
    const arrays: Record<string, PayloadData> = {
      tokens: Int32Array.from(tokens.slice(from, to)),
      positions: Int32Array.from(range((i) => i)),
      slots: Int32Array.from(range((i) => page(i) * 16 + (i % 16))),
      pages: Int32Array.from({ length: sizes.J }, (_, j) => PAGES - 1 - j),
      lengths: Int32Array.of(to),
      starts: Int32Array.of(0, T),
      rows: Int32Array.from(range((i) => i - from)),
    };
    const { payload } = await handle.step(sizes, packInputs(handle, sizes, arrays));
    results.push(Float32Array.from(unpackOutputs(handle, sizes, payload).logits as Float32Array));
  }
  return results;
}

const CASES: readonly (readonly [string, TinyOptions, Partial<ModelOptions> & { threshold: Threshold }])[] = [
  ["llama", {}, { threshold: "adaptive" }],
  ["qwen2 with biases and tied embeddings", { family: "qwen2", tied: true, type: "BF16" }, { threshold: 6 }],
  ["mistral with a window", { family: "mistral", window: 24 }, { threshold: "all", kv: "bfloat16" }],
  ["16-bit weights", {}, { threshold: 0, weights: "16bit" }],
  ["an int8 head", { tied: true }, { threshold: 0, head: "int8" }],
];

let pool: Pool;
beforeAll(async () => {
  pool = await Pool.start({ devices: DEVICES, threads: 2 });
});
afterAll(() => pool.dispose());

describe.each(CASES)("%s", (_name, tiny, options) => {
  let model: TinyModel;
  beforeAll(async () => {
    model = await writeTinyModel(tiny);
  });
  afterAll(() => model[Symbol.asyncDispose]());

  it.each(DEVICES)("fused or not, the same bits on %s", async (device) => {
    const manifest = await openModel(model.path);
    const unfused = buildModel(manifest, {
      weights: "int8",
      head: "16bit",
      context: 64,
      pages: PAGES,
      rows: 1,
      kv: "float16",
      output: { type: "logits" },
      ...options,
    });
    const fused = fuse(unfused);
    expect(fused.ops.length).toBeLessThan(unfused.ops.length);
    const expected = await logitsOf(pool.device(device), manifest, unfused);
    const logits = await logitsOf(pool.device(device), manifest, fused);
    expect(logits).toEqual(expected);
    for (const row of logits) expect(row.every(Number.isFinite)).toBe(true);
  });
});
