/**
 * A weight that is no number, or none of the type that it is kept in, is refused when the model loads. If this fails, every
 * answer of such a model is token 0, and nothing says why.
 */
import { open } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ResidentModel } from "../ts/deploy/resident.ts";
import { openModel } from "../ts/model/source/index.ts";
import { rankPrograms } from "../ts/plan/programs.ts";
import { MODEL_DEFAULTS } from "../ts/plan/settings.ts";
import { Pool } from "../ts/pool.ts";
import { DEVICES } from "./support/devices.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

const SIZES = { T: 4, S: 4, B: 1, J: 1, H: 4, D: 0, Q: 1 };

let pool: Pool;
let model: TinyModel;
beforeAll(async () => {
  [pool, model] = await Promise.all([
    Pool.start({ devices: DEVICES, threads: 2 }),
    writeTinyModel({ type: "F32", config: { attention_bias: true } }),
  ]);
}, 60_000);
afterAll(async () => {
  await Promise.all([pool.dispose(), model[Symbol.asyncDispose]()]);
});

/** Writes `value` over an element of the file's tensor, calls, and puts back what was there. */
async function withElement<T>(name: string, index: number, value: number, call: () => Promise<T>): Promise<T> {
  const { file, offset } = (await openModel(model.path)).tensors.get(name)!;
  await using handle = await open(file, "r+");
  const before = Buffer.alloc(4);
  await handle.read(before, 0, 4, offset + 4 * index);
  await handle.write(Buffer.from(Float32Array.of(value).buffer), 0, 4, offset + 4 * index);
  try {
    return await call();
  } finally {
    await handle.write(before, 0, 4, offset + 4 * index);
  }
}

async function load(device: string, weights: "int8" | "16bit", head: "int8" | "16bit" = "16bit"): Promise<void> {
  const manifest = await openModel(model.path);
  const resident = new ResidentModel(pool.device(device), manifest, "test");
  const [program] = rankPrograms(manifest, { ...MODEL_DEFAULTS, weights, head, context: 16, pages: 1, rows: 4 });
  await resident.defineProgram(program!, SIZES);
}

describe.each(DEVICES)("on %s", (device) => {
  it.each([
    ["an embedding beyond float16", "model.embed_tokens.weight", 70_000, /holds 70000, which float16 cannot hold/],
    ["a head beyond float16", "lm_head.weight", -1e6, /holds -1e\+06, which float16 cannot hold.*bfloat16/],
    ["NaN in a norm", "model.layers.1.input_layernorm.weight", Number.NaN, /holds NaN/],
    ["infinity in a bias", "model.layers.0.self_attn.v_proj.bias", Number.POSITIVE_INFINITY, /holds inf/],
    ["NaN in a linear", "model.layers.0.mlp.up_proj.weight", Number.NaN, /holds NaN/],
  ])("%s is refused with the tensor's name", async (_, name, value, message) => {
    for (const weights of ["int8", "16bit"] as const) {
      const error: unknown = await withElement(name, 13, value, () =>
        load(device, weights).then(
          () => undefined,
          (thrown) => thrown,
        ),
      );
      expect(error).toMatchObject({
        code: "OCTAVO_MODEL_FILE_INVALID",
        message: expect.stringMatching(message),
      });
      expect(error).toMatchObject({ message: expect.stringContaining(`tensor ${name} `) });
    }
  });

  it("the largest numbers that fit are loaded", async () => {
    await withElement("lm_head.weight", 3, 65_504, () => load(device, "int8"));
    // Codes have a scale: a head that float16 cannot hold is no other than the rest.
    await withElement("lm_head.weight", 3, 1e6, () => load(device, "int8", "int8"));
    await withElement("model.norm.weight", 3, 3e38, () => load(device, "int8"));
  });
});
