/**
 * A number that is none never becomes an answer. If these fail, a request whose numbers overflow gets text that means nothing,
 * or takes its neighbours with it.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate } from "../ts/eval/evaluate.ts";
import { evaluationText } from "../ts/eval/text.ts";
import { Engine, type GenerateOptions } from "../ts/index.ts";
import { inspectOutliers } from "../ts/inspect/inspect.ts";
import { bitsOf } from "./support/answers.ts";
import { DEVICES } from "./support/devices.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

const HIDDEN = 64;
/** The only token with anything in this channel of its embedding: what is planted there concerns this token alone. */
const BAD = 77;
const CHANNEL = 3;

type Plant = (name: string, data: Float32Array) => void;

/** Finite in every file and every type, and far apart: channel 3 of the bad token is 8 after the first norm. */
const alone: Plant = (name, data) => {
  if (!name.includes("embed_tokens")) return;
  for (let id = 0; id * HIDDEN < data.length; id++) data[id * HIDDEN + CHANNEL] = id === BAD ? 30_000 : 0;
};

/** Keys of 8 times this. */
const keys =
  (weight: number): Plant =>
  (name, data) => {
    alone(name, data);
    if (name === "model.layers.0.self_attn.k_proj.weight") data[CHANNEL] = weight;
  };

/** Beyond 2^50. */
const largeKeys = keys(1e15);

/** Beyond float32 in the first norm. */
const largeNorm: Plant = (name, data) => {
  alone(name, data);
  if (name === "model.layers.0.input_layernorm.weight") data[CHANNEL] = 3e38;
};

const APPEND = "rope_append (model.layers.0.self_attn.append)";
const schedule = { context: 64, sequences: 4, tokenBudget: 8, threads: 1 } as const;
const nonfinite = (op: string) =>
  expect.objectContaining({ code: "OCTAVO_NONFINITE", retryable: false, message: expect.stringContaining(op) });
const options: GenerateOptions = { maxTokens: 3, ignoreEos: true, logits: true, logprobs: 2 };
const GOOD = [[10, 20, 30], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], [40]];

describe.each([...DEVICES])("on %s", (devices) => {
  describe("a request whose keys the KV pages cannot hold", () => {
    let model: TinyModel;
    let engine: Engine;
    beforeAll(async () => {
      model = await writeTinyModel({ type: "F32", layers: 1, change: largeKeys });
      engine = await Engine.load(model.path, { devices, ...schedule });
    });
    afterAll(async () => {
      await engine.dispose();
      await model[Symbol.asyncDispose]();
    });

    it("ends with the op's name and what is wrong, and its neighbours have the bits they have alone", async () => {
      const expected = [];
      for (const prompt of GOOD) expected.push(bitsOf(await engine.generate(prompt, options).complete()));
      const bad = engine.generate([10, 20, BAD, 30], options).complete();
      const beside = GOOD.map((prompt) => engine.generate(prompt, options).complete());
      await expect(bad).rejects.toThrow(nonfinite(APPEND));
      await expect(bad).rejects.toThrow("keys or values of 2^50 and more");
      expect((await Promise.all(beside)).map(bitsOf)).toEqual(expected);
      expect(engine.statistics.nonfinite).toBeGreaterThan(0);
      // Pages that held NaN are others' now.
      for (const [index, prompt] of GOOD.entries())
        expect(bitsOf(await engine.generate(prompt, options).complete())).toEqual(expected[index]);
    });

    it.each([
      ["greedily", {}],
      ["by chance", { temperature: 1, seed: 3, topK: 5, topP: 0.9 }],
      ["with penalties", { repetitionPenalty: 1.3, frequencyPenalty: 0.5 }],
    ])("ends in the middle of its answer, drawn %s, while later steps are under way", async (_how, sampling) => {
      const beside = engine.generate([10, 20, 30], { ...options, maxTokens: 4 });
      const expected = await engine.generate([10, 20, 30], { ...options, maxTokens: 4 }).complete();
      // The first token that it draws is the bad one.
      const bad = engine.generate([50, 60], { ...sampling, ...options, maxTokens: 4, logitBias: { [BAD]: 1e4 } });
      const ids: number[] = [];
      const reading = (async () => {
        for await (const piece of bad) ids.push(...piece.ids);
      })();
      await expect(reading).rejects.toThrow(nonfinite(APPEND));
      expect(ids).toEqual([BAD]);
      expect(bitsOf(await beside.complete())).toEqual(bitsOf(expected));
    });

    it("is found wherever in a long prompt it is, and takes no memory with it", async () => {
      const filler = Array.from({ length: 20 }, (_, index) => 100 + index);
      for (const at of [0, 7, 8, 19])
        await expect(engine.generate(filler.toSpliced(at, 1, BAD), options).complete()).rejects.toThrow(
          nonfinite(APPEND),
        );
      const all = Array.from({ length: 9 }, () => engine.generate([BAD], options).complete());
      for (const result of await Promise.allSettled(all))
        expect(result).toMatchObject({ status: "rejected", reason: { code: "OCTAVO_NONFINITE" } });
      expect((await engine.generate(filler, options).complete()).ids).toHaveLength(3);
    });

    it("can still be aborted", async () => {
      const gone = AbortSignal.abort(new Error("gone"));
      await expect(engine.generate([BAD], { ...options, signal: gone }).complete()).rejects.toThrow("gone");
      const generation = engine.generate([50, 60], { ...options, logitBias: { [BAD]: 1e4 } });
      for await (const _ of generation) break;
      await expect(generation.complete()).rejects.toThrow("the loop over the generation was left");
    });
  });

  it.each(["int16", "int8"] as const)("keys of 8e13, far beyond any 16-bit float, are kept in %s", async (kv) => {
    await using model = await writeTinyModel({ type: "F32", layers: 1, change: keys(1e13) });
    await using engine = await Engine.load(model.path, { devices, ...schedule, kv });
    const { logits, ids } = await engine.generate([10, 20, BAD, 30], options).complete();
    expect(ids).toHaveLength(3);
    expect(logits!.every((row) => row.every(Number.isFinite))).toBe(true);
    expect(engine.statistics.nonfinite).toBe(0);
  });

  it.each([
    ["int8", "norm_quantize (model.layers.0.input_layernorm)"],
    ["16bit", "norm (model.layers.0.input_layernorm)"],
  ] as const)(
    "an overflow in a norm of a model with %s weights ends the request that it concerns",
    async (weights, op) => {
      await using model = await writeTinyModel({ type: "F32", layers: 1, change: largeNorm });
      await using engine = await Engine.load(model.path, { devices, ...schedule, weights });
      const bad = engine.generate([BAD], options).complete();
      const good = engine.generate([10, 20], options).complete();
      await expect(bad).rejects.toThrow(nonfinite(op));
      expect((await good).ids).toHaveLength(3);
      expect(engine.statistics.nonfinite).toBeGreaterThan(0);
    },
  );

  it("an output layer beyond float32 gives no token, no perplexity and no heat map", async () => {
    const change: Plant = (name, data) => {
      if (name === "model.norm.weight") data.fill(1e35); // Rows whose sums are finite: an int8 head takes them.
      if (name === "lm_head.weight") for (const [index, value] of data.entries()) data[index] = 1e4 * value;
    };
    await using model = await writeTinyModel({ type: "F32", layers: 1, change });
    const text = (await evaluationText(undefined)).slice(0, 500);
    const judged = { devices, threads: 1, tokens: 20, window: 16 };
    for (const head of ["int8", "16bit"] as const) {
      await using engine = await Engine.load(model.path, { devices, head, ...schedule });
      await expect(engine.generate([10, 20], options).complete()).rejects.toThrow(nonfinite("(logits)"));
      await expect(evaluate(model.path, text, { ...judged, head })).rejects.toThrow(nonfinite("(logits)"));
    }
    await expect(inspectOutliers(model.path, text, judged)).rejects.toThrow(nonfinite("(logits)"));
  });
});

describe("on triton-interpreter:0", () => {
  it("a request whose keys the KV pages cannot hold ends with the op's name, and its neighbour goes on", async () => {
    await using model = await writeTinyModel({ type: "F32", layers: 1, change: largeKeys });
    const both = await Promise.all(
      ["cpu:0", "triton-interpreter:0"].map((devices) => Engine.load(model.path, { devices, ...schedule })),
    );
    const short = { ...options, maxTokens: 2 };
    const answers = both.map(async (engine) => {
      const bad = engine.generate([10, BAD], short).complete();
      const good = engine.generate([10, 20], short).complete();
      await expect(bad).rejects.toThrow(nonfinite(APPEND));
      return bitsOf(await good);
    });
    const [cpu, triton] = await Promise.all(answers);
    expect(triton).toEqual(cpu);
    expect(both[1]!.statistics.nonfinite).toBe(both[0]!.statistics.nonfinite);
    await Promise.all(both.map((engine) => engine.dispose()));
  }, 120_000);
});
