/**
 * One model on several workers. If these fail, an answer depends on how many devices a model is spread over, or on how it is
 * cut: ids, logprobs and logits are compared with ==.
 */
import { describe, expect, it } from "vitest";
import { Engine, type LoadOptions } from "../ts/index.ts";
import { answerAlone, answerAtRandom, answerTogether, bitsOf, randomJobs } from "./support/answers.ts";
import { tokenIds } from "./support/random.ts";
import { type TinyModel, type TinyOptions, writeTinyModel } from "./support/tiny-model.ts";

const small = { context: 128, sequences: 4, threads: 1 } as const;

async function answersOn(model: TinyModel, options: LoadOptions, seed = 1) {
  await using engine = await Engine.load(model.path, { ...small, ...options });
  return await answerAtRandom(engine, randomJobs(5, model.vocabulary, 60), seed);
}

/** Models and options, and devices and shares that have to be without effect on what they say. */
const CASES: Readonly<Record<string, readonly [TinyOptions, LoadOptions, readonly LoadOptions[]]>> = {
  "4 heads that share 2 kv heads": [
    {},
    {},
    [
      { devices: "cpu:0,cpu:1" },
      { devices: "cpu:0,cpu:1", shares: [3, 1], tokenBudget: 8 },
      { tensorParallel: 3, tokenBudget: 24 },
      { tensorParallel: 4, shares: [1, 2, 1, 4] },
    ],
  ],
  "9 heads on uneven devices, biases, bfloat16": [
    { family: "qwen2", type: "BF16", config: { num_attention_heads: 9, num_key_value_heads: 3, head_dim: 16 } },
    { threshold: 6 },
    [{ shares: [2, 1] }, { shares: [1, 1, 5], tokenBudget: 16 }],
  ],
  "16-bit weights, tied, a window": [
    { family: "mistral", tied: true },
    { weights: "16bit" },
    [{ tensorParallel: 2, tokenBudget: 8 }, { shares: [1, 3] }],
  ],
  "int8 K and V, an int8 head of tied embeddings, gelu": [
    { tied: true, config: { mlp_bias: true, attention_bias: true, hidden_act: "gelu_pytorch_tanh" } },
    { kv: "int8", headThreshold: 0 },
    [{ tensorParallel: 2 }, { tensorParallel: 3, tokenBudget: 8 }],
  ],
};

describe.each(Object.entries(CASES))("%s", (_, [tiny, options, spread]) => {
  it("says the same on any number of devices, with any shares, in any batches", async () => {
    await using model = await writeTinyModel(tiny);
    const expected = await answersOn(model, { ...options, devices: "cpu:0" });
    for (const [index, other] of spread.entries())
      expect(await answersOn(model, { ...options, devices: "auto", ...other }, index), JSON.stringify(other)).toEqual(
        expected,
      );
  });
});

it("ranks on backends of all kinds say what one CPU worker says", { timeout: 240_000 }, async () => {
  await using model = await writeTinyModel({ layers: 1 });
  const jobs = randomJobs(2, model.vocabulary, 6);
  const say = async (devices: string) => {
    const options = { ...small, context: 32, sequences: 2, tokenBudget: 8 };
    await using engine = await Engine.load(model.path, { ...options, devices });
    return await answerTogether(
      engine,
      jobs.map((job) => ({ ...job, options: { ...job.options, maxTokens: 2 } })),
    );
  };
  const expected = await say("cpu:0");
  for (const devices of ["reference:0,reference:1", "triton-interpreter:0,cpu:0,reference:0"])
    expect(await say(devices), devices).toEqual(expected);
});

describe("what other engines are reported to do with tensor parallelism, and none of it happens", () => {
  const load = (model: TinyModel, options: LoadOptions = {}) =>
    Engine.load(model.path, { devices: "cpu:0,cpu:1", threads: 2, context: 128, sequences: 12, ...options });
  const greedy = { maxTokens: 6, ignoreEos: true, logits: true, logprobs: 1 } as const;

  it("other results above a batch of 8 (sglang 19431)", async () => {
    await using model = await writeTinyModel();
    await using engine = await load(model);
    const jobs = randomJobs(12, model.vocabulary, 20);
    const alone = await answerAlone(engine, jobs);
    for (const batch of [8, 9, 12])
      expect(await answerTogether(engine, jobs.slice(0, batch))).toEqual(alone.slice(0, batch));
  });

  it("another logprob of a token in prefill than in decode (sglang 34159)", async () => {
    await using model = await writeTinyModel();
    await using engine = await load(model);
    const prompt = tokenIds(5, 19, model.vocabulary);
    const whole = await engine.generate(prompt, greedy).complete();
    // Each token that was decoded once more as the next one after a prompt.
    for (let drawn = 1; drawn < whole.ids.length; drawn++) {
      const prefilled = await engine.generate([...prompt, ...whole.ids.slice(0, drawn)], greedy).complete();
      const [first, decoded] = [bitsOf(prefilled), bitsOf(whole)];
      expect([first.ids[0], first.logprobs![0], first.logits[0]]).toEqual([
        decoded.ids[drawn],
        decoded.logprobs![drawn],
        decoded.logits[drawn],
      ]);
    }
  });

  it("another answer for another tensor parallel size (sglang 7916)", async () => {
    await using model = await writeTinyModel({ seed: 9 });
    const prompt = tokenIds(6, 40, model.vocabulary);
    const answers = [];
    for (const tensorParallel of [1, 2, 4]) {
      await using engine = await load(model, { devices: "auto", tensorParallel });
      answers.push(bitsOf(await engine.generate(prompt, { ...greedy, temperature: 1, seed: 3 }).complete()));
    }
    expect(answers).toEqual(new Array(3).fill(answers[0]));
  });

  it("several answers to identical prompts (sglang 15388)", async () => {
    await using model = await writeTinyModel();
    await using engine = await load(model);
    const prompt = tokenIds(7, 30, model.vocabulary);
    const answers = await answerTogether(
      engine,
      Array.from({ length: 20 }, () => ({ prompt, options: greedy })),
    );
    expect(answers).toEqual(new Array(20).fill(answers[0]));
  });
});
