/** What `octavo bench` reports: were it wrong, kernels would be tuned after false numbers. */
import { describe, expect, it } from "vitest";
import { profileOps } from "../ts/bench/ops.ts";
import { contextOf, measureSpeed, speedJob } from "../ts/bench/speed.ts";
import { Engine } from "../ts/index.ts";
import { DEVICES } from "./support/devices.ts";
import { writeTinyModel } from "./support/tiny-model.ts";

describe.runIf(DEVICES.includes("cpu:0"))("on the CPU", () => {
  it("times every op of every step, and no more than the step took", async () => {
    await using model = await writeTinyModel({ layers: 2 });
    const { steps, ceiling } = await profileOps(model.path, {
      devices: "cpu:0",
      batches: [1, 3],
      prefill: 40,
      repeats: 3,
    });
    expect(steps.map(({ name, tokens }) => [name, tokens])).toEqual([
      ["prefill 40", 40],
      ["decode 1", 1],
      ["decode 3", 3],
    ]);
    expect(Object.values(ceiling).every((value) => value > 0)).toBe(true);
    for (const { ops, microseconds } of steps) {
      const calls = Object.fromEntries(ops.map((op) => [op.op, op.calls]));
      // Two layers of four merged linears (q k v, o, gate up, down), and the head.
      expect(calls).toMatchObject({ linear_int8: 9, attention: 2, rope_append: 2, sample: 1 });
      // Medians of each op and of the whole are of different repeats, so their sums may differ a little either way.
      expect(ops.reduce((sum, op) => sum + op.microseconds, 0)).toBeLessThan(2 * microseconds);
    }
  });

  it("measures decode with as many tokens behind it as it is told, more than a step takes", async () => {
    await using model = await writeTinyModel();
    const options = { devices: "cpu:0", batches: [2], prefill: 3, depth: 600, repeats: 1 };
    const { steps } = await profileOps(model.path, options);
    const attention = steps.map(({ ops }) => ops.find(({ op }) => op === "attention")!);
    expect(steps.map(({ name }) => name)).toEqual(["prefill 3", "decode 2"]);
    // Per layer 4 operations of each of 4 heads of 16 for a key: 1 + 2 + 3 keys, and twice 601.
    const operations = attention.map((op) => op.gigaoperationsPerSecond * op.microseconds * 1e3);
    expect(operations.map((count) => Math.round(count / (2 * 4 * 64)))).toEqual([6, 1202]);
  });

  it("makes every token that it counts", async () => {
    await using model = await writeTinyModel();
    await using engine = await Engine.load(model.path, { devices: "cpu:0", sequences: 2, context: 128 });
    const whole = speedJob((text) => engine.tokenizer.encode(text), 2);
    const prompts = whole.decode[1]!.prompts.slice(0, 2);
    const before = engine.statistics.drawn;
    const job = { ...whole, prefill: whole.prefill.slice(0, 64), decode: [{ prompts, tokens: 8 }] };
    const { prefill, decode } = await measureSpeed(engine, job);
    expect(prefill).toHaveLength(2);
    expect(decode[2]).toHaveLength(2);
    expect([...prefill, ...decode[2]!].every((rate) => rate > 0 && Number.isFinite(rate))).toBe(true);
    // Twice: one prefill of one token, two rows of eight.
    expect(engine.statistics.drawn - before).toBe(2 * (1 + 16));
  });

  it("refuses to call the rate of rows that wait for each other that of a batch", async () => {
    await using model = await writeTinyModel();
    await using engine = await Engine.load(model.path, { devices: "cpu:0", sequences: 2, context: 128 });
    const job = speedJob((text) => engine.tokenizer.encode(text), 1, { prefill: 8, batches: [4], depth: 8 });
    const short = { ...job, decode: job.decode.map((one) => ({ ...one, tokens: 4 })) };
    await expect(measureSpeed(engine, short)).rejects.toMatchObject({
      code: "OCTAVO_BAD_ARGUMENT",
      message: expect.stringContaining("4 sequences do not run together"),
    });
  });
});

describe("a job", () => {
  const encode = () => [5, 6, 7];

  it("is what it was told, of a text that begins again where it ends", () => {
    const job = speedJob(encode, 1, { prefill: 7, batches: [2, 64], depth: 4 });
    expect(job.prefill).toEqual([5, 6, 7, 5, 6, 7, 5]);
    expect(job.decode.map(({ prompts, tokens }) => [prompts.length, prompts[1], tokens])).toEqual([
      [2, [6, 7, 5, 6], 128],
      [64, [6, 7, 5, 6], 64],
    ]);
  });

  it("fits the context that it says", () => {
    expect(contextOf(speedJob(encode, 1, { prefill: 1000 }))).toBe(1001);
    expect(contextOf(speedJob(encode, 1, { batches: [32], depth: 4000 }))).toBe(4064);
  });
});
