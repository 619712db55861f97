/**
 * Fusing ops changes no bit, on real workers. If this fails, a faster program is a different model, and results depend on
 * which passes a version of Octavo happens to run.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openModel } from "../ts/model/source/index.ts";
import { Pool } from "../ts/pool.ts";
import { fuse } from "../ts/program/fuse.ts";
import { DEVICES } from "./support/devices.ts";
import { logitsProgram, type StepOptions, stepLogits } from "./support/step-logits.ts";
import { type TinyModel, type TinyOptions, writeTinyModel } from "./support/tiny-model.ts";

/** A prompt of 37 tokens (three pages, the last one not full), then three more, one by one. */
const ENDS = [37, 38, 39, 40];

const CASES: readonly (readonly [string, TinyOptions, StepOptions])[] = [
  ["llama", {}, { threshold: "adaptive" }],
  ["qwen2 with biases and tied embeddings", { family: "qwen2", tied: true, type: "BF16" }, { threshold: 6 }],
  ["mistral with a window", { family: "mistral", window: 24 }, { threshold: "all", kv: "int8" }],
  ["16-bit weights", {}, { threshold: 0, weights: "16bit" }],
  ["an int8 head", { tied: true }, { threshold: 0, head: "int8", headThreshold: 0 }],
  ["a 16-bit head", {}, { threshold: "adaptive", head: "16bit" }],
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
    const unfused = logitsProgram(manifest, options);
    const fused = fuse(unfused);
    expect(fused.ops.length).toBeLessThan(unfused.ops.length);
    const expected = await stepLogits(pool.device(device), manifest, unfused, ENDS);
    const logits = await stepLogits(pool.device(device), manifest, fused, ENDS);
    expect(logits).toEqual(expected);
    for (const row of logits) expect(row.every(Number.isFinite)).toBe(true);
  });
});
