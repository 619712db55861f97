/** What others build upon an engine: its figures, its `onStep`, its audit. If these fail, a server's metrics lie, or harm answers. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Engine, type StepReport } from "../ts/index.ts";
import { bitsOf } from "./support/answers.ts";
import { DEVICE } from "./support/devices.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

let model: TinyModel;
beforeAll(async () => {
  model = await writeTinyModel();
});
afterAll(() => model[Symbol.asyncDispose]());

const base = () => ({ devices: DEVICE, threads: 1, context: 128, sequences: 2, tokenBudget: 16 }) as const;
const free = { maxTokens: 6, ignoreEos: true } as const;

test("each step is told of, in order, and what is told adds up to the statistics", async () => {
  const steps: StepReport[] = [];
  await using engine = await Engine.load(model.path, { ...base(), onStep: (step) => steps.push(step) });
  const prompts = [Array.from({ length: 20 }, (_, i) => i + 3), [5], [6, 7]];
  await Promise.all(prompts.map((prompt) => engine.generate(prompt, free).complete()));
  const { statistics } = engine;
  const sum = (key: "tokens" | "drawn" | "computeMs") => steps.reduce((total, step) => total + step[key], 0);
  expect(steps.map(({ number }) => number)).toEqual(steps.map((_, index) => index + 1));
  expect([steps.length, sum("tokens"), sum("drawn")]).toEqual([statistics.steps, statistics.tokens, statistics.drawn]);
  expect(sum("computeMs")).toBeCloseTo(statistics.computeMs, 6);
  expect(steps[0]).toMatchObject({
    rows: 1,
    tokens: 16,
    drawn: 0,
    sizes: { T: 16, B: 1, J: 1 },
    waiting: 1,
    running: 2,
  });
  expect(steps.at(-1)).toMatchObject({ waiting: 0, running: 0, freePages: engine.plan.details.pages });
  const { stepTokens, queueMs, runMs } = statistics;
  expect([stepTokens.count, stepTokens.max, queueMs.count, runMs.count]).toEqual([statistics.steps, 16, 3, 3]);
  for (const { p50, p90, p99, max, mean } of [stepTokens, queueMs, runMs]) {
    expect([p50, p90, p99, max]).toEqual([p50, p90, p99, max].sort((a, b) => a - b));
    expect(mean > 0 && mean <= max).toBe(true);
  }
});

test("a request that ends before it runs has waited for nothing that is counted; one that is aborted has run", async () => {
  await using engine = await Engine.load(model.path, { ...base(), sequences: 1 });
  const never = engine.generate([1], { ...free, signal: AbortSignal.abort(new Error("no")) });
  await expect(never.complete()).rejects.toThrow("no");
  const left = engine.generate([1], { ...free, maxTokens: 100 });
  for await (const _ of left) break;
  const { queueMs, runMs } = engine.statistics;
  expect([queueMs.count, runMs.count]).toEqual([1, 1]);
});

test.each([
  [
    "throws",
    () => {
      throw new Error("broken metrics");
    },
  ],
  ["rejects", () => Promise.reject(new Error("broken metrics"))],
])("an onStep that %s harms no answer: it is told of once and left alone", async (_, fail) => {
  const warnings: string[] = [];
  let called = 0;
  const onStep = () => {
    called += 1;
    return fail();
  };
  const onWarning = (text: string) => warnings.push(text);
  await using plain = await Engine.load(model.path, base());
  await using engine = await Engine.load(model.path, { ...base(), onStep, onWarning });
  const [expected, answer] = await Promise.all(
    [plain, engine].map((one) => one.generate([8, 9], { ...free, logits: true }).complete()),
  );
  expect(bitsOf(answer!)).toEqual(bitsOf(expected!));
  expect(called).toBe(1);
  expect(warnings).toEqual(["onStep has failed and is not called any more: Error: broken metrics"]);
});

test("the audit finds a handle that only one side knows, and is content with a worker that is gone", async () => {
  const engine = await Engine.load(model.path, base());
  await engine.generate([1], free).complete();
  await engine.audit();
  const { ledger } = engine.deployment.devices[0]!;
  const entry = ledger.entries().find(({ kind }) => kind === "kv")!;
  ledger.release(entry.handle);
  await expect(engine.audit()).rejects.toThrow(
    /books are wrong\. handles of \S+: (\d+) in the worker, (\d+) in the ledger; bytes of handles/,
  );
  ledger.reserve(entry);
  ledger.commit(entry.handle);
  await engine.dispose();
  await engine.audit();
});
