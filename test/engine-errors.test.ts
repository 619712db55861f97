/** Wrong use and losses. If these fail, a caller gets a crash, a hang, or an error that does not say what to do. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Engine, type LoadOptions } from "../ts/index.ts";
import { DEVICE } from "./support/devices.ts";
import { isRunning, waitForEnd } from "./support/processes.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

let model: TinyModel;
beforeAll(async () => {
  model = await writeTinyModel();
});
afterAll(() => model[Symbol.asyncDispose]());

const base = { devices: DEVICE, threads: 1, context: 128 } as const;

describe("loading", () => {
  const refused: [string, LoadOptions, string][] = [
    ["two devices for three ranks", { devices: "cpu:0,cpu:1", tensorParallel: 3 }, "tensorParallel is 3 for 2 devices"],
    ["a share too few", { devices: "cpu:0,cpu:1", shares: [1] }, "shares has 1 number for 2 devices"],
    ["no such device", { devices: "tpu:0" }, '"tpu:0" is not a device'],
    ["half a thread", { threads: 0.5 }, "threads is 0.5"],
    ["other weights", { weights: "int4" as "int8" }, 'weights is "int4"; it takes "int8" or "16bit"'],
    ["another head", { head: "float" as "int8" }, 'head is "float"; it takes "auto", "int8" or "16bit"'],
    ["K and V as they were once", { kv: "bfloat16" as "int8" }, 'it takes "int16" or "int8"; pages hold integers'],
    ["a threshold below zero", { threshold: -1 }, "threshold is -1"],
    ["a head's threshold below zero", { headThreshold: -1 }, "headThreshold is -1"],
    ["half a threshold of a head", { headThreshold: { absolute: 6 } as never }, "headThreshold is {"],
    ["a misspelt option", { contxt: 5 } as LoadOptions, "there is no option contxt"],
    ["more context than the model has", { context: 4096 }, "context 4096"],
  ];
  it.each(refused)("refuses %s", async (_, options, message) => {
    await expect(Engine.load(model.path, { ...base, ...options })).rejects.toMatchObject({
      code: "OCTAVO_BAD_ARGUMENT",
      message: expect.stringContaining(message),
    });
  });

  it("refuses what does not fit before anything is allocated, with what would", async () => {
    const loading = Engine.load(model.path, { ...base, memoryLimit: 2 ** 20 });
    await expect(loading).rejects.toMatchObject({
      code: "OCTAVO_PLAN_DOES_NOT_FIT",
      message: expect.stringMatching(/more/),
    });
  });

  it("takes the caller's limit of memory for what is available, up to what the device has", async () => {
    await using engine = await Engine.load(model.path, { ...base, memoryLimit: Number.MAX_SAFE_INTEGER });
    expect(engine.plan.devices[0]?.total).toBe(engine.deployment.devices[0]!.description.memoryTotal);
  });

  it("says that there is no model, and that it knows no such architecture", async () => {
    await expect(Engine.load("/no/such/model", base)).rejects.toMatchObject({ code: "OCTAVO_MODEL_NOT_FOUND" });
    await using other = await writeTinyModel();
    await writeFile(join(other.path, "config.json"), JSON.stringify({ ...other.config, architectures: ["Mamba"] }));
    await expect(Engine.load(other.path, base)).rejects.toMatchObject({ code: "OCTAVO_UNKNOWN_ARCHITECTURE" });
  });

  it("gives a worker the time to start that the caller says", async () => {
    await expect(Engine.load(model.path, { ...base, startDeadlineMs: 1 })).rejects.toMatchObject({
      code: "OCTAVO_WORKER_START_FAILED",
      retryable: true,
      message: expect.stringContaining("within 1 ms"),
    });
  });

  it("ends, and leaves no process, when its signal is aborted at any moment", async () => {
    for (const stage of ["model", "worker", "weights", "program"]) {
      const abort = new AbortController();
      const onProgress = (progress: { stage: string }) => {
        if (progress.stage === stage) abort.abort(new Error(`at ${stage}`));
      };
      const loading = Engine.load(model.path, { ...base, signal: abort.signal, onProgress });
      await expect(loading).rejects.toThrow(`at ${stage}`);
    }
  });
});

describe("a lost worker", () => {
  it("does not end a loop over a generation, nor give it a token twice", async () => {
    await using engine = await Engine.load(model.path, base);
    const options = { maxTokens: 120, ignoreEos: true } as const;
    const { ids } = await engine.generate([1], options).complete();
    const seen: number[] = [];
    for await (const piece of engine.generate([1], options)) {
      if (seen.length === 0) process.kill(engine.deployment.devices[0]!.pid, "SIGKILL");
      seen.push(...piece.ids);
    }
    expect(seen).toEqual(ids);
  });
});

it("an error while one request's token is made into text ends that request, and neither Node nor the others", async () => {
  await using engine = await Engine.load(model.path, base);
  const failing = vi.spyOn(engine.tokenizer, "bytesOf").mockImplementationOnce(() => {
    throw new Error("no such token");
  });
  const options = { maxTokens: 5, ignoreEos: true } as const;
  const outcomes = await Promise.allSettled([1, 2, 3].map((id) => engine.generate([id], options).complete()));
  failing.mockRestore();
  expect(outcomes.filter(({ status }) => status === "rejected")).toMatchObject([
    { reason: { message: "no such token" } },
  ]);
  for (const outcome of outcomes) if (outcome.status === "fulfilled") expect(outcome.value.ids).toHaveLength(5);
  expect((await engine.generate([4], options).complete()).ids).toHaveLength(5);
});

describe("a disposed engine", () => {
  it("has ended its requests and its worker, and says so to the next ones", async () => {
    const engine = await Engine.load(model.path, base);
    const { pid } = engine.deployment.devices[0]!;
    const running = engine.generate([1], { maxTokens: 100, ignoreEos: true });
    await running[Symbol.asyncIterator]().next();
    await Promise.all([engine.dispose(), engine.dispose()]);
    await expect(running.complete()).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
    expect(() => engine.generate([1])).toThrow(expect.objectContaining({ code: "OCTAVO_DISPOSED" }));
    expect(() => engine.chat([])).toThrow(expect.objectContaining({ code: "OCTAVO_DISPOSED" }));
    await expect(engine.memory()).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
    await waitForEnd([pid], 5000);
    expect(isRunning(pid)).toBe(false);
  });
});

it("refuses prompts that are no prompts, before anything runs", async () => {
  await using engine = await Engine.load(model.path, base);
  const cases: [unknown, string][] = [
    ["", "OCTAVO_EMPTY_PROMPT"],
    [[], "OCTAVO_EMPTY_PROMPT"],
    [new Array(128).fill(1), "OCTAVO_PROMPT_TOO_LONG"],
    [[300], "OCTAVO_TOKEN_OUT_OF_RANGE"],
    [[-1], "OCTAVO_TOKEN_OUT_OF_RANGE"],
    [undefined, "OCTAVO_BAD_ARGUMENT"],
    [{ role: "user" }, "OCTAVO_BAD_ARGUMENT"],
  ];
  for (const [prompt, code] of cases)
    expect(() => engine.generate(prompt as number[])).toThrow(expect.objectContaining({ code }));
  expect(engine.statistics.steps).toBe(0);
});
