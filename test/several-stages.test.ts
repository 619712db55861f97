/**
 * One model in stages. If these fail, an answer depends on how many stages a model is cut into, or a lost stage hangs the others:
 * ids, logprobs and logits are compared with ==.
 */
import { describe, expect, it } from "vitest";
import { Engine, type LoadOptions, Pool } from "../ts/index.ts";
import { answerAtRandom, answerTogether, randomJobs } from "./support/answers.ts";
import { tokenIds } from "./support/random.ts";
import { type TinyModel, type TinyOptions, writeTinyModel } from "./support/tiny-model.ts";

const small = { context: 128, sequences: 6, threads: 1 } as const;

async function answersOn(model: TinyModel, options: LoadOptions, seed = 1) {
  await using engine = await Engine.load(model.path, { ...small, ...options });
  const answers = await answerAtRandom(engine, randomJobs(8, model.vocabulary, 60), seed);
  await engine.audit();
  return answers;
}

const CASES: Readonly<Record<string, readonly [TinyOptions, LoadOptions, readonly LoadOptions[]]>> = {
  "3 layers, int8": [
    { layers: 3 },
    {},
    [
      { pipelineParallel: 2 },
      { pipelineParallel: 3, tokenBudget: 8 },
      { pipelineParallel: 2, tensorParallel: 2, tokenBudget: 24 },
      { pipelineParallel: 2, shares: [1, 2, 5, 1] },
    ],
  ],
  "16-bit weights, tied, biases": [
    { layers: 4, family: "qwen2", tied: true },
    { weights: "16bit", head: "16bit" },
    [{ pipelineParallel: 2, shares: [1, 3], tokenBudget: 16 }, { pipelineParallel: 4 }],
  ],
};

describe.each(Object.entries(CASES))("%s", (_, [tiny, options, spread]) => {
  it("says the same in any number of stages, in any batches and chunks", async () => {
    await using model = await writeTinyModel(tiny);
    const expected = await answersOn(model, { ...options, devices: "cpu:0" });
    for (const [index, other] of spread.entries())
      expect(await answersOn(model, { ...options, devices: "auto", ...other }, index), JSON.stringify(other)).toEqual(
        expected,
      );
  });
});

it("stages on backends of all kinds say what one CPU worker says", { timeout: 240_000 }, async () => {
  await using model = await writeTinyModel({ layers: 3 });
  const jobs = randomJobs(2, model.vocabulary, 6).map(({ prompt }) => ({
    prompt,
    options: { maxTokens: 2, ignoreEos: true, logits: true },
  }));
  const say = async (devices: string, pipelineParallel: number) => {
    const options = { ...small, context: 32, sequences: 2, tokenBudget: 8 };
    await using engine = await Engine.load(model.path, { ...options, devices, pipelineParallel });
    return await answerTogether(engine, jobs);
  };
  const expected = await say("cpu:0", 1);
  expect(await say("reference:0,cpu:0,triton-interpreter:0", 3)).toEqual(expected);
});

it("each stage has its layers, their KV pages, and no others; together they count what one worker counts", async () => {
  await using model = await writeTinyModel({ layers: 3 });
  const prompt = tokenIds(5, 40, model.vocabulary);
  const of = async (options: LoadOptions) => {
    await using engine = await Engine.load(model.path, { ...small, ...options });
    await engine.generate(prompt, { maxTokens: 5, ignoreEos: true }).complete();
    const { quantized, carries } = engine.statistics;
    const { details, devices } = engine.plan;
    return { counters: [quantized, carries], pages: details.ranks.map(({ bytes }) => bytes.kvPage), devices };
  };
  const one = await of({ devices: "cpu:0" });
  const three = await of({ devices: "auto", pipelineParallel: 3 });
  expect(three.counters).toEqual(one.counters);
  expect(three.pages).toEqual([1, 1, 1].map(() => one.pages[0]! / 3));
  for (const { kv, weights } of three.devices)
    expect([kv > 0, weights < one.devices[0]!.weights]).toEqual([true, true]);
});

it("steps of different sequences are under way in all stages, and a stage that is lost is a pause", async () => {
  await using model = await writeTinyModel({ layers: 3 });
  await using pool = await Pool.start({ devices: "cpu:0,cpu:1,cpu:2", threads: 2 });
  const rows: number[] = [];
  await using engine = await Engine.load(model.path, {
    ...{ pool, context: 128, sequences: 6, pipelineParallel: 3 },
    onStep: (step) => void rows.push(step.rows),
  });
  const jobs = Array.from({ length: 6 }, (_, index) => ({
    prompt: tokenIds(index, 9, model.vocabulary),
    options: { maxTokens: 30, ignoreEos: true, logits: true },
  }));
  const expected = await answerTogether(engine, jobs);
  // Prompts together, then each step has a third of those that decode.
  expect(rows[0]).toBe(6);
  expect(rows.slice(1, 60)).toEqual(new Array(59).fill(2));
  for (const lost of [0, 1, 2]) {
    const answers = answerTogether(engine, jobs);
    await engine.generate([5], { maxTokens: 1 }).complete();
    process.kill(engine.deployment.devices[lost]!.pid, "SIGKILL");
    expect(await answers, `stage ${lost}`).toEqual(expected);
  }
  expect(engine.statistics.restarts).toBe(3);
});

it("numbers that overflow are told of by the op of the stage that made them, and leave the others alone", async () => {
  const channel = 3;
  const bad = 77;
  const hidden = 64;
  /** Only this token ever has anything in the channel, which overflows a norm in the second layer. */
  const change = (name: string, data: Float32Array) => {
    const width = data.length / hidden;
    if (/(o|down)_proj/.test(name)) data.fill(0, channel * width, (channel + 1) * width);
    if (name.includes("embed_tokens"))
      for (let id = 0; id * hidden < data.length; id += 1) data[id * hidden + channel] = id === bad ? 30_000 : 0;
    if (name === "model.layers.1.post_attention_layernorm.weight") data[channel] = 3e38;
  };
  await using model = await writeTinyModel({ type: "F32", layers: 3, change });
  const say = async (options: LoadOptions) => {
    await using engine = await Engine.load(model.path, { ...small, ...options });
    const broken = engine.generate([5, bad, 6], { maxTokens: 3 }).complete();
    const fine = engine.generate([1, 2, 3], { maxTokens: 8, ignoreEos: true }).complete();
    const message = await broken.then(String, (error: Error) => error.message);
    return { message, ids: (await fine).ids };
  };
  const expected = await say({ devices: "cpu:0" });
  expect(expected.message).toContain("the first NaN or infinity came out of");
  expect(await say({ devices: "auto", pipelineParallel: 3 })).toEqual(expected);
});
