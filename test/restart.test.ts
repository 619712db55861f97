/** An engine outlives its workers. If these fail, one crash of a worker is the end of a user's service. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Engine, type Generation } from "../ts/index.ts";
import { Pool } from "../ts/pool.ts";
import { bitsOf } from "./support/answers.ts";
import { DEVICE } from "./support/devices.ts";
import { isRunning, workersOf } from "./support/processes.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

let model: TinyModel;
beforeAll(async () => {
  model = await writeTinyModel();
});
afterAll(() => model[Symbol.asyncDispose]());

const base = { devices: DEVICE, threads: 1, context: 128 } as const;
const long = { maxTokens: 120, ignoreEos: true } as const;

/** Runs until a step has been served. */
async function warm(engine: Engine): Promise<void> {
  await engine.generate([1], { maxTokens: 1 }).complete();
}

test("a lost worker ends nothing: what ran goes on, then what waited; all get the answers they would have had", async () => {
  await using engine = await Engine.load(model.path, { ...base, sequences: 2 });
  const options = { maxTokens: 8, ignoreEos: true, logits: true };
  const bits = async (generation: Generation) => bitsOf(await generation.complete());
  const expected = await bits(engine.generate([5, 6], options));
  const undisturbed = await bits(engine.generate([1], long));
  const running = [engine.generate([1], long), engine.generate([1], long)];
  const waiting = engine.generate([5, 6], options);
  await running[0]![Symbol.asyncIterator]().next();
  const { pid } = engine.deployment.devices[0]!;
  process.kill(pid, "SIGKILL");
  const next = engine.generate([5, 6], options);
  for (const generation of running) expect(await bits(generation)).toEqual(undisturbed);
  for (const generation of [waiting, next]) expect(await bits(generation)).toEqual(expected);
  expect(engine.deployment.devices[0]!.pid).not.toBe(pid);
  expect(engine.deployment.devices[0]!.lost.aborted).toBe(false);
});

test("the new worker has what the plan says and nothing else", async () => {
  await using engine = await Engine.load(model.path, base);
  await warm(engine);
  const [before] = await engine.memory();
  const device = engine.deployment.devices[0]!;
  expect(workersOf(process.pid)).toEqual([device.pid]);
  process.kill(device.pid, "SIGKILL");
  await new Promise((resolve) => device.lost.addEventListener("abort", resolve));
  const [after] = await engine.memory(); // Waits for the new worker.
  expect(engine.deployment.devices[0]!).not.toBe(device);
  expect(after).toMatchObject({ planned: before!.planned, committed: before!.committed, byKind: before!.byKind });
  expect((await engine.deployment.devices[0]!.stats()).handleBytes).toBe(after!.committed);
  expect(device.ledger.committed).toBe(0);
});

test("a start that fails is told to who waits, and tried again for who comes next", async () => {
  await using engine = await Engine.load(model.path, base);
  await warm(engine);
  vi.stubEnv("OCTAVO_PYTHON", "/nowhere/python3");
  const device = engine.deployment.devices[0]!;
  process.kill(device.pid, "SIGKILL");
  await new Promise((resolve) => device.lost.addEventListener("abort", resolve));
  const waiting = engine.generate([1], long);
  await expect(waiting.complete()).rejects.toMatchObject({ code: "OCTAVO_WORKER_START_FAILED", retryable: false });
  vi.unstubAllEnvs();
  await warm(engine);
});

test("a worker that dies again and again while nobody asks is not started for ever", async () => {
  const restart = vi.spyOn(Pool.prototype, "restart");
  await using engine = await Engine.load(model.path, base);
  await warm(engine);
  process.kill(engine.deployment.devices[0]!.pid, "SIGKILL"); // It had served: another one comes at once.
  await vi.waitFor(() => expect(restart).toHaveBeenCalledTimes(1));
  await engine.memory();
  process.kill(engine.deployment.devices[0]!.pid, "SIGKILL"); // It had not.
  await new Promise((resolve) => engine.deployment.devices[0]!.lost.addEventListener("abort", resolve));
  await setTimeout(800);
  expect(restart).toHaveBeenCalledTimes(1);
  await warm(engine);
  expect(restart).toHaveBeenCalledTimes(2);
  restart.mockRestore();
});

test("a model file that was replaced meanwhile is not loaded by the places of the old one", async () => {
  await using other = await writeTinyModel();
  await using engine = await Engine.load(other.path, base);
  await warm(engine);
  const file = join(other.path, "model.safetensors");
  await writeFile(file, "");
  const device = engine.deployment.devices[0]!;
  process.kill(device.pid, "SIGKILL");
  await new Promise((resolve) => device.lost.addEventListener("abort", resolve));
  await expect(engine.generate([1]).complete()).rejects.toMatchObject({
    code: "OCTAVO_MODEL_FILE_INVALID",
    message: expect.stringMatching(/model\.safetensors has changed.*load the model again/),
  });
});

test.each([0, 60, 250])("disposing of the engine %d ms into a restart leaves no process", async (ms) => {
  const pids: number[] = [];
  const engine = await Engine.load(model.path, base);
  await warm(engine);
  const device = engine.deployment.devices[0]!;
  process.kill(device.pid, "SIGKILL");
  await new Promise((resolve) => device.lost.addEventListener("abort", resolve));
  const waiting = engine.generate([1], long);
  await setTimeout(ms);
  pids.push(device.pid, engine.deployment.devices[0]!.pid);
  await engine.dispose();
  // A quick machine has answered before 250 ms are over.
  const outcome = await waiting.complete().then(
    () => "answered",
    ({ code }) => code,
  );
  expect(ms < 250 ? ["OCTAVO_DISPOSED"] : ["OCTAVO_DISPOSED", "answered"]).toContain(outcome);
  expect(pids.filter(isRunning)).toEqual([]);
  expect(workersOf(process.pid)).toEqual([]);
});
