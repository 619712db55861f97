/**
 * The same request gives the same bits, whatever else runs. If these fail, answers depend on other users' requests, and
 * nobody can reproduce what he saw.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../ts/index.ts";
import { answerAlone, answerAtRandom, answerTogether, randomJobs } from "./support/answers.ts";
import { DEVICES } from "./support/devices.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

let model: TinyModel;
beforeAll(async () => {
  model = await writeTinyModel({ layers: 2 });
});
afterAll(() => model[Symbol.asyncDispose]());

/** Many sequences and whole prompts; few sequences and small chunks; one token at a time. */
const SCHEDULES = [
  { sequences: 32, tokenBudget: 512 },
  { sequences: 5, tokenBudget: 23 },
  { sequences: 1, tokenBudget: 1 },
];

describe.each(DEVICES)("on %s", (devices) => {
  it("alone, with others, in any chunks, in any order, beside aborted ones", async () => {
    // The oracle is slow; it must agree with itself as well, but fewer requests show that.
    const jobs = randomJobs(devices === "cpu:0" ? 32 : 8, model.vocabulary);
    // On small tensors torch's threads cost more than they bring, and spin where other tests want to run.
    const threads = devices === "reference:0" ? 1 : 2;
    let alone: Awaited<ReturnType<typeof answerAlone>> | undefined;
    for (const schedule of SCHEDULES) {
      await using engine = await Engine.load(model.path, { devices, context: 256, threads, ...schedule });
      alone ??= await answerAlone(engine, jobs);
      expect(await answerTogether(engine, jobs)).toEqual(alone);
      if (schedule.sequences > 1) expect(await answerAtRandom(engine, jobs, schedule.sequences)).toEqual(alone);
    }
  });

  it("again with the tokens it had so far, as after a crash", async () => {
    await using engine = await Engine.load(model.path, { devices, context: 256, threads: 1 });
    const options = { temperature: 1, seed: 7, ignoreEos: true, repetitionPenalty: 1.1, logits: true } as const;
    const [whole] = await answerTogether(engine, [{ prompt: [5, 6, 7], options: { ...options, maxTokens: 40 } }]);
    const prompt = [5, 6, 7, ...whole!.ids.slice(0, 25)];
    const [rest] = await answerTogether(engine, [{ prompt, options: { ...options, maxTokens: 15 } }]);
    expect(rest!.ids).toEqual(whole!.ids.slice(25));
    expect(rest!.logits).toEqual(whole!.logits.slice(25));
  });
});

describe.runIf(DEVICES.includes("cpu:0"))("on the CPU", () => {
  it("with 1, 2 and 4 threads", async () => {
    const jobs = randomJobs(12, model.vocabulary, 150, 2);
    const answers = [];
    for (const threads of [1, 2, 4]) {
      await using engine = await Engine.load(model.path, { devices: "cpu:0", context: 256, threads });
      answers.push(await answerTogether(engine, jobs));
    }
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
  });
});
