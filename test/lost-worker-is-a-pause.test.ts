/**
 * Workers die at any moment, and nobody who waits for an answer can tell but by the time. If these fail, a crash costs users their
 * answers, or, worse, gives them other ones than they would have had.
 */
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { SAMPLE_TEXT } from "../ts/bench/sample-text.ts";
import { ModelDeployment } from "../ts/deploy/deployment.ts";
import { Group } from "../ts/deploy/group.ts";
import { type Completion, Engine, type GenerateOptions, type Generation, OctavoError, Pool } from "../ts/index.ts";
import { ProgramHandle } from "../ts/tensor/program-handle.ts";
import { bitsOf } from "./support/answers.ts";
import { DEVICE } from "./support/devices.ts";
import { isRunning, waitForEnd, workersOf } from "./support/processes.ts";
import { uniform } from "./support/random.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

/** Kills the engine's worker, and returns when the engine knows. */
async function kill(engine: Engine): Promise<void> {
  const { pid, lost } = engine.deployment.devices[0]!;
  const told = new Promise((resolve) => lost.addEventListener("abort", resolve, { once: true }));
  process.kill(pid, "SIGKILL");
  await told;
}

/** An answer as it came, piece by piece, and whole: what must be equal, and whether the pieces are the whole. */
async function streamed(generation: Generation) {
  const ids: number[] = [];
  let text = "";
  for await (const piece of generation) {
    ids.push(...piece.ids);
    text += piece.text;
  }
  const completion = await generation.complete();
  expect([ids, text]).toEqual([completion.ids, completion.text]);
  return { ...bitsOf(completion), finishReason: completion.finishReason };
}

/** The only token with something in this channel; there it overflows the first norm. */
const BAD = 77;
const CHANNEL = 3;
function overflow(name: string, data: Float32Array): void {
  const width = 64;
  if (name.includes("embed_tokens"))
    for (let id = 0; id * width < data.length; id += 1) data[id * width + CHANNEL] = id === BAD ? 30_000 : 0;
  if (name === "model.layers.0.input_layernorm.weight") data[CHANNEL] = 3e38;
}

describe("under sixteen requests of all kinds", () => {
  /** What shows each piece of state that has to live through a loss. */
  const kinds: readonly GenerateOptions[] = [
    { maxTokens: 24 },
    { maxTokens: 18, temperature: 0.9, seed: 7, presencePenalty: 0.6, frequencyPenalty: 0.4 },
    { maxTokens: 18, temperature: 1.1, seed: 2 ** 40 + 5, repetitionPenalty: 1.3, topP: 0.95, minP: 0.01 },
    { maxTokens: 40, stop: ["e "] }, // Ends in the middle of tokens.
    { maxTokens: 15, logprobs: 5, temperature: 0.7, seed: 3 },
    { maxTokens: 6, logits: true },
    { maxTokens: 1 },
    { maxTokens: 30, ignoreEos: true, logitBias: { 253: 2 }, topK: 40, temperature: 1, seed: 11 },
  ];
  const round = (engine: Engine, ids: readonly number[]) =>
    Array.from({ length: 16 }, (_, index) => {
      const length = index % 3 === 2 ? 70 + index * 4 : 4 + index;
      const prompt = ids.slice(index * 9, index * 9 + length);
      return streamed(engine.generate(prompt, kinds[index % kinds.length]));
    });

  it.each([
    ["4 rows, chunks of 32 tokens", { sequences: 4, tokenBudget: 32 }, 1],
    ["16 rows, chunks of 128 tokens", { sequences: 16, tokenBudget: 128 }, 2],
  ])(
    "%s: ten kills at random moments, and every answer is the undisturbed one",
    async (_, settings, seed) => {
      const draw = uniform(seed);
      const upTo = (limit: number) => Math.floor(draw() * limit);
      let kills = 0;
      let armed = false;
      let due = 0;
      /** Drawn by this worker so far: one that is lost before the first token of all is a case of its own, below. */
      let drawn = 0;
      const pids = new Set<number>();
      const engine = await Engine.load("smollm2", {
        ...{ devices: DEVICE, threads: 1, context: 512, ...settings },
        onStep: (step) => {
          drawn += step.drawn;
          due -= 1;
          if (!armed || due > 0 || drawn === 0) return;
          armed = false;
          const { pid, lost } = engine.deployment.devices[0]!;
          const rearm = () => {
            [armed, drawn, due] = [kills < 10, 0, 1 + upTo(10)];
          };
          lost.addEventListener("abort", rearm, { once: true });
          pids.add(pid);
          kills += 1;
          // In the middle of a step, between two, or when all is over.
          if (draw() < 0.5) process.kill(pid, "SIGKILL");
          else globalThis.setTimeout(() => isRunning(pid) && process.kill(pid, "SIGKILL"), upTo(30));
        },
      });
      onTestFinished(() => engine.dispose());
      const ids = engine.tokenizer.encode(SAMPLE_TEXT);
      const expected = await Promise.all(round(engine, ids));
      expect(new Set(expected.map(({ finishReason }) => finishReason))).toEqual(new Set(["stop", "length"]));
      armed = true;
      while (kills < 10) expect(await Promise.all(round(engine, ids))).toEqual(expected);
      expect(await Promise.all(round(engine, ids))).toEqual(expected);
      await waitForEnd([...pids], 5000);
      expect(engine.statistics).toMatchObject({ restarts: 10, resumed: expect.any(Number) });
      expect(engine.statistics.resumed).toBeGreaterThan(10);
      expect(workersOf(process.pid)).toEqual([engine.deployment.devices[0]!.pid]);
      await engine.dispose();
      expect(workersOf(process.pid)).toEqual([]);
    },
    120_000,
  ); // Half a minute on two quiet cores: twenty-one loads.
});

describe("a small model's", () => {
  let model: TinyModel;
  beforeAll(async () => {
    model = await writeTinyModel();
  });
  afterAll(() => model[Symbol.asyncDispose]());
  const base = { devices: DEVICE, threads: 1, context: 128, sequences: 4, tokenBudget: 16 } as const;
  const long = { maxTokens: 100, ignoreEos: true, logits: true } as const;
  const first = async (generation: Generation) => void (await generation[Symbol.asyncIterator]().next());
  const bits = async (generation: Generation) => bitsOf(await generation.complete());

  it("worker that is stopped is found out at the step's deadline, and its requests go on as those of a killed one", async () => {
    await using engine = await Engine.load(model.path, { ...base, stepDeadlineMs: 1000 });
    const ask = () => [[5, 6], [7]].map((prompt) => engine.generate(prompt, { ...long, temperature: 1, seed: 4 }));
    const expected = await Promise.all(ask().map(bits));
    const running = ask();
    const { pid, lost } = engine.deployment.devices[0]!;
    await first(running[0]!);
    process.kill(pid, "SIGSTOP");
    expect(await Promise.all(running.map((generation) => bits(generation)))).toEqual(expected);
    expect(lost.reason).toMatchObject({ message: expect.stringContaining("within 1000 ms") });
    await waitForEnd([pid], 5000);
    expect(engine.statistics.resumed).toBeGreaterThanOrEqual(2); // More where the machine itself stopped for so long.
  });

  it("request that is aborted while no worker is there ends at once, and the others go on", async () => {
    await using engine = await Engine.load(model.path, base);
    const expected = await bits(engine.generate([5, 6], long));
    const stop = new AbortController();
    const [left, kept] = [engine.generate([9], { ...long, signal: stop.signal }), engine.generate([5, 6], long)];
    const waiting = Array.from({ length: 4 }, () => engine.generate([5, 6], long));
    await first(kept);
    await kill(engine);
    stop.abort(new Error("enough"));
    await expect(left.complete()).rejects.toThrow("enough");
    const late = engine.generate([5, 6], long);
    for (const generation of [kept, ...waiting, late]) expect(await bits(generation)).toEqual(expected);
    expect(engine.statistics.resumed).toBeGreaterThanOrEqual(1);
  });

  it("timings of a request tell of one wait and of one first token, whatever was computed again", async () => {
    await using engine = await Engine.load(model.path, base);
    const generation = engine.generate([5, 6], long);
    await first(generation);
    await kill(engine);
    const { timings, usage } = await generation.complete();
    expect(usage).toEqual({ promptTokens: 2, completionTokens: 100 });
    expect(timings.queueMs).toBeLessThanOrEqual(timings.firstTokenMs);
    expect(timings.firstTokenMs).toBeLessThan(timings.totalMs);
    expect([engine.statistics.queueMs.count, engine.statistics.runMs.count]).toEqual([1, 1]);
  });

  it("worker that is lost while the model is loaded there is replaced as well", async () => {
    await using engine = await Engine.load(model.path, base);
    const expected = await bits(engine.generate([5, 6], long));
    const running = engine.generate([5, 6], long);
    await first(running);
    const load = ModelDeployment.prototype.load;
    let attempts = 0;
    const loading = vi.spyOn(ModelDeployment.prototype, "load").mockImplementation(function (
      this: ModelDeployment,
      ...to
    ) {
      attempts += 1;
      if (attempts <= 2) process.kill(this.devices[0]!.pid, "SIGKILL");
      return load.apply(this, to);
    });
    onTestFinished(() => loading.mockRestore());
    await kill(engine);
    expect(await bits(running)).toEqual(expected);
    expect(attempts).toBe(3);
    expect(engine.statistics).toMatchObject({ restarts: 1, resumed: 1 });
  });

  it("request for logits is not lost with the worker that was to make their program", async () => {
    await using engine = await Engine.load(model.path, base);
    const logits = ModelDeployment.prototype.logits;
    const making = vi.spyOn(ModelDeployment.prototype, "logits").mockImplementationOnce(function (
      this: ModelDeployment,
    ) {
      process.kill(this.devices[0]!.pid, "SIGKILL");
      return logits.apply(this);
    });
    onTestFinished(() => making.mockRestore());
    const { logits: rows } = await engine.generate([5, 6], { ...long, maxTokens: 3 }).complete();
    expect(rows).toHaveLength(3);
  });

  describe("request that kills every worker", () => {
    const POISON = 299;
    /** Whose own tokens are none of that: they would kill workers too. */
    const spared = { ...long, logitBias: { [POISON]: -1e4 } };
    /**
     * A fake of a bug in a kernel: the worker dies in any step that has the token `POISON`. Steps are sent one by one, so that the worker
     * has answered all the others by then, and once all `engines` have their models there.
     */
    function poison(...engines: readonly Engine[]): { deaths: number } {
      const seen = { deaths: 0 };
      const { step } = ProgramHandle.prototype;
      let before: Promise<unknown> = Promise.resolve();
      const spy = vi.spyOn(ProgramHandle.prototype, "step").mockImplementation(function (this: ProgramHandle, ...sent) {
        const [sizes, payload] = sent;
        const tokens = new Int32Array(payload.buffer, payload.byteOffset, sizes.T);
        const result = before.then(async () => {
          if (!tokens.includes(POISON) || this.device.lost.aborted) return await step.apply(this, sent);
          await Promise.all(engines.map((engine) => engine.memory()));
          seen.deaths += 1;
          process.kill(this.device.pid, "SIGSTOP"); // It has the step, and does not come to its end.
          const dying = step.apply(this, sent);
          process.kill(this.device.pid, "SIGKILL");
          return await dying;
        });
        before = result.catch(() => {});
        return result;
      });
      onTestFinished(() => spy.mockRestore());
      return seen;
    }

    it("ends with the second one when it is alone, with the loss's code; the next request runs", async () => {
      await using engine = await Engine.load(model.path, base);
      const expected = await bits(engine.generate([5, 6], spared));
      const seen = poison();
      const dead = engine.generate([5, POISON], long);
      await expect(dead.complete()).rejects.toMatchObject({
        ...{ code: "OCTAVO_WORKER_LOST", retryable: true },
        message: expect.stringContaining("SIGKILL"),
      });
      expect(seen.deaths).toBe(2);
      expect(await bits(engine.generate([5, 6], spared))).toEqual(expected);
    });

    it("ends alone among others, whose answers are the undisturbed ones", async () => {
      await using engine = await Engine.load(model.path, base);
      const prompts = [[5, 6], [7], [8, 9, 10], [11], [12], [13, 14]];
      const ask = (each: readonly number[]) =>
        engine.generate(each, { ...spared, maxTokens: 20, temperature: 1, seed: 4 });
      const expected = await Promise.all(prompts.map((prompt) => bits(ask(prompt))));
      const seen = poison();
      const running = prompts.slice(0, 2).map(ask);
      await first(running[0]!);
      const dead = ask([20, POISON]);
      running.push(...prompts.slice(2).map(ask));
      await expect(dead.complete()).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST", retryable: true });
      expect(await Promise.all(running.map(bits))).toEqual(expected);
      expect(seen.deaths).toBeLessThanOrEqual(4);
    });

    it("ends alone among models that share the worker: theirs waited behind it", async () => {
      await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
      const { threads: _, ...settings } = base;
      const [mine, other] = await Promise.all([1, 2].map(() => Engine.load(model.path, { ...settings, pool })));
      onTestFinished(async () => void (await Promise.all([mine!.dispose(), other!.dispose()])));
      const expected = await bits(other!.generate([5, 6], spared));
      poison(mine!, other!);
      const beside = other!.generate([5, 6], spared);
      await first(beside);
      await expect(mine!.generate([POISON], long).complete()).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST" });
      expect(await bits(beside)).toEqual(expected);
      expect(await bits(mine!.generate([5, 6], spared))).toEqual(expected);
      expect(mine!.statistics).toMatchObject({ restarts: 2, resumed: 1 });
    });
  });

  it("step that ranks could not take together is taken again, though no worker is known to be lost", async () => {
    await using engine = await Engine.load(model.path, base);
    const expected = await bits(engine.generate([5, 6], long));
    const running = engine.generate([5, 6], long);
    await first(running);
    const { pid } = engine.deployment.devices[0]!;
    const broken = new OctavoError("OCTAVO_GROUP_BROKEN", "rank 0 has waited for rank 1");
    const spy = vi.spyOn(Group.prototype, "step").mockRejectedValueOnce(broken);
    onTestFinished(() => spy.mockRestore());
    expect(await bits(running)).toEqual(expected);
    expect(engine.deployment.devices[0]!.pid).toBe(pid);
    expect(engine.statistics).toMatchObject({ restarts: 1, resumed: 1 });
  });

  it.each([
    ["before it is asked why", false, "the first NaN or infinity came out of"],
    ["while it is asked why", true, "which op made them so is not known"],
  ])("numbers that are not finite end their request alone, when the worker is lost %s", async (_, checked, message) => {
    await using broken = await writeTinyModel({ type: "F32", layers: 1, change: overflow });
    await using engine = await Engine.load(broken.path, base);
    const expected = await bits(engine.generate([5, 6], long));
    const { step } = ProgramHandle.prototype;
    let deaths = 0;
    const spy = vi.spyOn(ProgramHandle.prototype, "step").mockImplementation(function (this: ProgramHandle, ...sent) {
      // The step that draws NaN, or the first that looks for the op.
      if (deaths > 0 || (sent[2]?.check === true) !== checked) return step.apply(this, sent);
      deaths += 1;
      process.kill(this.device.pid, "SIGSTOP");
      const result = step.apply(this, sent);
      process.kill(this.device.pid, "SIGKILL");
      return result;
    });
    onTestFinished(() => spy.mockRestore());
    const [good, bad] = [engine.generate([5, 6], long), engine.generate([BAD, 9], long)];
    await expect(bad.complete()).rejects.toMatchObject({
      ...{ code: "OCTAVO_NONFINITE", message: expect.stringContaining(message) },
    });
    expect(await bits(good)).toEqual(expected);
    expect(engine.statistics.restarts).toBe(1);
  });

  it("workers that all die before they have served anything are told of to all who wait, and not started for ever", async () => {
    await using engine = await Engine.load(model.path, base);
    await engine.generate([1], { maxTokens: 1 }).complete();
    const { load } = ModelDeployment.prototype;
    let attempts = 0;
    const loading = vi.spyOn(ModelDeployment.prototype, "load").mockImplementation(function (
      this: ModelDeployment,
      ...to
    ) {
      attempts += 1;
      process.kill(this.devices[0]!.pid, "SIGKILL");
      return load.apply(this, to);
    });
    await kill(engine);
    const all = [1, 2].map((id) => engine.generate([id], long).complete());
    const lost = { reason: { code: "OCTAVO_WORKER_LOST", retryable: true } };
    expect(await Promise.allSettled<Completion>(all)).toMatchObject([lost, lost]);
    expect(attempts).toBe(5);
    loading.mockRestore();
    expect((await engine.generate([1], { maxTokens: 1 }).complete()).ids).toHaveLength(1);
  });
});
