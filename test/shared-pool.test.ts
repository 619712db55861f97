/** Engines on a caller's pool. If these fail, two models in one process take each other's memory, or a worker each. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { Engine, Pool } from "../ts/index.ts";
import { answerTogether, bitsOf, randomJobs } from "./support/answers.ts";
import { DEVICE } from "./support/devices.ts";
import { workersOf } from "./support/processes.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

let llama: TinyModel;
let qwen: TinyModel;
let pool: Pool;
beforeAll(async () => {
  [llama, qwen] = await Promise.all([writeTinyModel(), writeTinyModel({ family: "qwen2", seed: 2, layers: 3 })]);
});
afterAll(() => Promise.all([llama, qwen].map((model) => model[Symbol.asyncDispose]())));
beforeEach(async () => {
  pool = await Pool.start({ devices: DEVICE, threads: 1 });
});
afterEach(() => pool.dispose());

const small = { context: 128, sequences: 2 } as const;
const load = (model: TinyModel, options = {}) => Engine.load(model.path, { pool, ...small, ...options });
const long = { maxTokens: 100, ignoreEos: true } as const;
const kill = async () => {
  const { pid, lost } = pool.devices[0]!;
  process.kill(pid, "SIGKILL");
  await new Promise((resolve) => lost.addEventListener("abort", resolve, { once: true }));
};

it("two models that load at once and answer at once say what each says alone, on one worker", async () => {
  const jobs = randomJobs(4, llama.vocabulary, 40);
  const alone = [];
  for (const model of [llama, qwen]) {
    await using engine = await Engine.load(model.path, { devices: DEVICE, threads: 1, ...small });
    alone.push(await answerTogether(engine, jobs));
  }
  const engines = await Promise.all([load(llama), load(qwen)]);
  expect(workersOf(process.pid)).toEqual([pool.devices[0]!.pid]);
  expect(await Promise.all(engines.map((engine) => answerTogether(engine, jobs)))).toEqual(alone);
  await Promise.all(engines.map((engine) => engine.dispose()));
});

it("both models' bytes are in the ledger of the device, and what one has is not available to the other", async () => {
  const [device] = pool.devices;
  const [first, second] = await Promise.all([load(llama), load(llama)]); // The same model twice: each has its own bytes.
  const planned = (engine: Engine) => {
    const { weights, kv, activations } = engine.plan.devices[0]!;
    return weights + kv + activations;
  };
  const { workspace } = device!.ledger.report(await device!.stats()).byKind; // All programs of a device share it.
  const both = planned(first) + planned(second) - workspace;
  expect(device!.ledger.planned).toBe(both);
  const request = { ...long, maxTokens: 1, logits: true };
  await Promise.all([first, second].map((engine) => engine.generate([1], request).complete()));
  const [report] = await first.memory();
  expect([report!.committed, (await device!.stats()).handleBytes]).toEqual([both, both]);
  const third = await load(qwen, { memoryLimit: 2 ** 30 });
  expect(third.plan.devices[0]!.total).toBe(2 ** 30 - both);
});

it("of two loads at once for which there is room once, one is refused before anything is allocated", async () => {
  const engine = await load(llama);
  await engine.dispose();
  const { weights, kv, activations, context } = engine.plan.devices[0]!;
  const enough = Math.ceil((weights + kv + activations + context) / 0.98) + 2 ** 16;
  const loads = await Promise.allSettled([1, 2].map(() => load(llama, { memoryLimit: enough })));
  const statuses = loads.map((outcome) => (outcome.status === "fulfilled" ? "loaded" : outcome.reason.code));
  expect(statuses.sort()).toEqual(["OCTAVO_PLAN_DOES_NOT_FIT", "loaded"]);
});

it("disposing of an engine frees its bytes, those of a running request too, and leaves the pool and the others", async () => {
  const [device] = pool.devices;
  await using x = await device!.tensor([1, 2, 3], { shape: [3] });
  const other = await load(qwen);
  const before = (await device!.stats()).handleBytes;
  const engine = await load(llama);
  const running = engine.generate([1], { ...long, logits: true });
  await running[Symbol.asyncIterator]().next();
  await engine.dispose();
  await expect(running.complete()).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
  expect(device!.ledger.entries().filter(({ owner }) => owner.startsWith(llama.path))).toEqual([]);
  expect((await device!.stats()).handleBytes).toBe(before);
  expect((await other.generate([1], { maxTokens: 2, ignoreEos: true }).complete()).ids).toHaveLength(2);
  await other.dispose();
  expect([device!.ledger.planned, device!.ledger.entries().length]).toEqual([0, 1]);
  expect([...(await x.read())]).toEqual([1, 2, 3]);
});

it("a load that is aborted, or whose options are wrong, leaves nothing on the pool", async () => {
  const abort = new AbortController();
  const onProgress = ({ stage }: { stage: string }) => stage === "weights" && abort.abort(new Error("enough"));
  await expect(load(llama, { signal: abort.signal, onProgress })).rejects.toThrow("enough");
  await expect(load(llama, { context: 100_000 })).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
  await expect(load(llama, { memoryLimit: 2 ** 20 })).rejects.toMatchObject({ code: "OCTAVO_PLAN_DOES_NOT_FIT" });
  const [device] = pool.devices;
  expect([device!.ledger.planned, device!.ledger.entries()]).toEqual([0, []]);
  expect((await device!.stats()).handleBytes).toBe(0);
});

it("when the worker is lost, one other has both models again; each goes on with what it ran and answers as before", async () => {
  const engines = await Promise.all([load(llama), load(qwen)]);
  const ask = (engine: Engine) => engine.generate([5, 6], { maxTokens: 6, ignoreEos: true, logits: true }).complete();
  const expected = (await Promise.all(engines.map(ask))).map(bitsOf);
  const undisturbed = await Promise.all(engines.map((engine) => engine.generate([1], long).complete()));
  const { planned, committed } = pool.devices[0]!.ledger;
  const running = engines.map((engine) => engine.generate([1], long));
  for (const generation of running) await generation[Symbol.asyncIterator]().next();
  await kill();
  const ran = await Promise.all(running.map((generation) => generation.complete()));
  expect(ran.map(bitsOf)).toEqual(undisturbed.map(bitsOf));
  expect((await Promise.all(engines.map(ask))).map(bitsOf)).toEqual(expected);
  const [device] = pool.devices;
  for (const engine of engines) expect(engine.deployment.devices).toEqual([device]);
  expect([device!.ledger.planned, device!.ledger.committed]).toEqual([planned, committed]);
  expect(workersOf(process.pid)).toEqual([device!.pid]);
  await Promise.all(engines.map((engine) => engine.dispose()));
  expect((await device!.stats()).handleBytes).toBe(0);
});

it.each([0, 60])("disposing of an engine %d ms into a restart leaves the pool usable and empty", async (ms) => {
  const engine = await load(llama);
  await engine.generate([1], { maxTokens: 1 }).complete();
  await kill();
  const waiting = engine.generate([1], long).complete();
  waiting.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, ms));
  await engine.dispose();
  await expect(waiting).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
  if (pool.devices[0]!.lost.aborted) await pool.restart(pool.devices[0]!);
  const [device] = pool.devices;
  expect([device!.ledger.planned, (await device!.stats()).handleBytes]).toEqual([0, 0]);
});

it("after its pool was disposed an engine says so, and can be disposed", async () => {
  const engine = await load(llama);
  await pool.dispose();
  await expect(engine.generate([1]).complete()).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
  await engine.dispose();
});

it("what belongs to Pool.start, or to another pool, is refused by name", async () => {
  const wrong: [object, string][] = [
    [{ threads: 1 }, "threads is for workers that are started"],
    [{ stepDeadlineMs: 5 }, "stepDeadlineMs is for workers that are started"],
    [{ devices: "cuda:7" }, `no device "cuda:7" in this pool; there are ${DEVICE}`],
    [{ pool: {} }, "pool is {}; it takes a pool, from Pool.start()"],
  ];
  for (const [options, message] of wrong) {
    const error = { code: "OCTAVO_BAD_ARGUMENT", message: expect.stringContaining(message) };
    await expect(load(llama, options)).rejects.toMatchObject(error);
  }
});

it("a pool of two devices runs one model on each, named, or one on both", async () => {
  await using two = await Pool.start({ devices: "cpu:0,cpu:1", threads: 2 });
  const places = ["cpu:0", "cpu:1", "auto", "cpu:1,cpu:0"];
  const engines = await Promise.all(places.map((devices) => load(llama, { pool: two, devices })));
  const names = engines.map((engine) => engine.deployment.devices.map(({ name }) => name).join());
  expect(names).toEqual(["cpu:0", "cpu:1", "cpu:0,cpu:1", "cpu:1,cpu:0"]);
  const answers = await Promise.all(engines.map((engine) => engine.generate([3], { maxTokens: 4 }).complete()));
  expect(answers.map(({ ids }) => ids)).toEqual(new Array(4).fill(answers[0]!.ids));
  const wrong = load(llama, { pool: two, tensorParallel: 3 });
  await expect(wrong).rejects.toThrow("tensorParallel is 3 for 2 devices");
});
