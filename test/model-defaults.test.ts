/** A model's generation_config.json decides what the caller does not. If these fail, its answers end or are drawn wrongly. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Engine } from "../ts/index.ts";
import { DEVICE } from "./support/devices.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

const warnings: string[] = [];
let model: TinyModel;
let engine: Engine;
beforeAll(async () => {
  model = await writeTinyModel();
  const generation = {
    do_sample: true,
    temperature: 1.5,
    top_k: 7,
    max_new_tokens: 9,
    num_beams: 4,
    suppress_tokens: [1],
  };
  await writeFile(join(model.path, "generation_config.json"), JSON.stringify(generation));
  const onWarning = (message: string) => warnings.push(message);
  engine = await Engine.load(model.path, { devices: DEVICE, threads: 1, context: 128, sequences: 3, onWarning });
});
afterAll(async () => {
  await engine.dispose();
  await model[Symbol.asyncDispose]();
});

const prompt = [40, 50];
const draw = async (options: object) => (await engine.generate(prompt, { ignoreEos: true, ...options }).complete()).ids;

it("draws as the file says when the caller says nothing", async () => {
  expect(engine.defaults).toEqual({ temperature: 1.5, topK: 7, maxTokens: 9 });
  const asked = await draw({ seed: 3, temperature: 1.5, topK: 7, maxTokens: 9 });
  expect(await draw({ seed: 3 })).toEqual(asked);
  expect(await draw({ seed: 3, temperature: undefined })).toEqual(asked);
  // Without a seed each answer is another, as with a temperature of the caller's.
  expect(await draw({ maxTokens: 60 })).not.toEqual(await draw({ maxTokens: 60 }));
});

it("lets the caller win, option by option", async () => {
  const greedy = await draw({ topK: 1, maxTokens: 20 });
  expect(greedy.length).toBe(20);
  expect(await draw({ temperature: 0, maxTokens: 20 })).toEqual(greedy);
  const hot = { seed: 3, temperature: 50, maxTokens: 40 };
  expect(await draw(hot)).toEqual(await draw({ ...hot, topK: 7 }));
  expect(await draw(hot)).not.toEqual(await draw({ ...hot, topK: 0 }));
});

it("says once what the file asks for and does not get", () => {
  expect(warnings).toEqual([expect.stringMatching(/asks for num_beams 4, suppress_tokens \[1\] when it generates/)]);
});
