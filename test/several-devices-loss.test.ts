/**
 * Ranks are lost, late and restored as one. If these fail, the loss of a worker hangs the others, leaks what they shared, or
 * changes what is said afterwards.
 */
import { fstatSync, readdirSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Engine, Pool } from "../ts/index.ts";
import { answerAtRandom, answerTogether, randomJobs } from "./support/answers.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

let model: TinyModel;
let pool: Pool;
beforeEach(async () => {
  model = await writeTinyModel();
  pool = await Pool.start({ devices: "cpu:0,cpu:1", threads: 2 });
});
afterEach(async () => {
  await pool.dispose();
  await model[Symbol.asyncDispose]();
});

const small = { context: 128, sequences: 2 } as const;
const long = { maxTokens: 120, ignoreEos: true } as const;

/** What a recovery may not leave behind: shared memory, entries of the ledgers, handles of the workers. */
async function traces() {
  const handles = pool.devices.map(async (device) => {
    const { handles, handleBytes } = await device.stats();
    return [handles, handleBytes, device.ledger.entries().length, device.ledger.planned, device.ledger.committed];
  });
  return {
    handles: await Promise.all(handles),
    shared: fstatSync(pool.shared!.fd).size,
  };
}

const descriptors = () => readdirSync("/proc/self/fd").length;

it("20 losses of ranks, in the middle of answers, leave nothing behind and change no answer", {
  timeout: 120_000,
}, async () => {
  const jobs = randomJobs(3, model.vocabulary, 30);
  await using engine = await Engine.load(model.path, { pool, ...small });
  const expected = await answerTogether(engine, jobs);
  const whole = (await engine.generate([1, 2, 3], long).complete()).ids;
  const before = await traces();
  const open = descriptors();
  for (let loss = 0; loss < 20; loss++) {
    const victim = engine.deployment.devices[loss % 2]!;
    const running = engine.generate([1, 2, 3], long);
    const answers = answerTogether(engine, jobs);
    await running[Symbol.asyncIterator]().next();
    process.kill(victim.pid, "SIGKILL");
    expect((await running.complete()).ids, `in loss ${loss}`).toEqual(whole);
    expect(await answers, `in loss ${loss}`).toEqual(expected);
    expect(await traces(), `after loss ${loss}`).toEqual(before);
  }
  // libzmq keeps the door of each worker open until the pool ends, also when it is told to unbind it; nothing else stays.
  await expect.poll(descriptors, { timeout: 5000 }).toBeLessThanOrEqual(open + 20);
  await engine.dispose();
  for (const device of pool.devices) {
    const { handles, handleBytes } = await device.stats();
    expect([handles, handleBytes, device.ledger.entries().length, device.ledger.planned]).toEqual([0, 0, 0, 0]);
  }
});

it("a survivor that waits inside a step goes on when the other one is lost", async () => {
  await using engine = await Engine.load(model.path, { pool, ...small });
  const [survivor, victim] = engine.deployment.devices;
  process.kill(victim!.pid, "SIGSTOP"); // It cannot come to the first gather, nor answer before it dies.
  const running = engine.generate([1, 2, 3], long).complete();
  await new Promise(setImmediate); // The step is sent.
  const after = survivor!.stats(); // Answered in order: behind the step.
  process.kill(victim!.pid, "SIGKILL");
  await after;
  expect([survivor!.lost.aborted, victim!.lost.aborted]).toEqual([false, true]);
  expect((victim!.lost.reason as Error).message).toContain("cpu:1");
  expect((await running).ids).toHaveLength(long.maxTokens);
  expect(engine.deployment.devices[0]).toBe(survivor);
});

it("of ranks that are late together only the one that hangs is stopped, and named", async () => {
  await using late = await Pool.start({ devices: "cpu:0,cpu:1", threads: 2, stepDeadlineMs: 1500 });
  await using engine = await Engine.load(model.path, { pool: late, ...small });
  const [survivor, victim] = engine.deployment.devices;
  const expected = (await engine.generate([5], { maxTokens: 3 }).complete()).ids;
  process.kill(victim!.pid, "SIGSTOP");
  const running = engine.generate([1, 2, 3], long).complete();
  await new Promise((resolve) => victim!.lost.addEventListener("abort", resolve, { once: true }));
  expect((await engine.generate([5], { maxTokens: 3 }).complete()).ids).toEqual(expected);
  expect((await running).ids).toHaveLength(long.maxTokens);
  expect(engine.deployment.devices[0]).toBe(survivor);
  expect(victim!.lost.reason).toMatchObject({ message: expect.stringMatching(/^cpu:1: .*"step" was not answered/) });
});

it("two models, each on both workers, answer together under load as each does alone", async () => {
  await using other = await writeTinyModel({ family: "qwen2", seed: 2, layers: 3 });
  const jobs = randomJobs(8, model.vocabulary, 60);
  const alone = [];
  for (const { path } of [model, other]) {
    await using engine = await Engine.load(path, { devices: "cpu:0", threads: 1, ...small });
    alone.push(await answerTogether(engine, jobs));
  }
  const engines = await Promise.all([
    Engine.load(model.path, { pool, ...small, tokenBudget: 16 }),
    Engine.load(other.path, { pool, ...small, devices: "cpu:1,cpu:0", shares: [3, 1], sequences: 3 }),
  ]);
  for (let round = 0; round < 3; round++)
    expect(await Promise.all(engines.map((engine) => answerAtRandom(engine, jobs, round)))).toEqual(alone);
  // Both have lost a rank then, and come back with one worker for both.
  const { pid, lost } = pool.device("cpu:1");
  process.kill(pid, "SIGKILL");
  await new Promise((resolve) => lost.addEventListener("abort", resolve, { once: true }));
  expect(await Promise.all(engines.map((engine) => answerTogether(engine, jobs)))).toEqual(alone);
  expect(engines.map(({ deployment }) => deployment.devices.map((device) => device.pid))).toEqual([
    pool.devices.map((device) => device.pid),
    pool.devices.map((device) => device.pid).reverse(),
  ]);
  await Promise.all(engines.map((engine) => engine.dispose()));
  expect(await Promise.all(pool.devices.map(async (device) => (await device.stats()).handles))).toEqual([0, 0]);
});
