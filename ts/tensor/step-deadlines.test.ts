/** How long a step may take. If these fail, a slow but sound step kills its worker, or a hung worker is waited for in vain. */
import { expect, test } from "vitest";
import type { Sizes } from "../../protocol/messages.ts";
import { StepDeadlines } from "./step-deadlines.ts";

/** SmolLM2-135M: its weights, its output layer, its attention. */
const SMALL = { fixed: 0, perToken: 106e6, perSample: 28e6, perTokenPage: 30 * 2 * 9 * 64 * 16 };
/** Llama 3 8B. */
const LARGE = { fixed: 0, perToken: 7e9, perSample: 0.5e9, perTokenPage: 32 * 2 * 32 * 128 * 16 };
const DECODE: Sizes = { T: 1, S: 1, B: 1, J: 64, H: 0, D: 0, Q: 0 };
const PREFILL: Sizes = { ...DECODE, T: 512, J: 32 };
const cpu = { backend: "cpu", isa: "avx2", threads: 2 } as const;

test("a hung decode step of a small model is noticed within seconds, and a step always has ten", () => {
  const deadline = new StepDeadlines(SMALL, cpu).of(DECODE);
  expect(deadline).toBeGreaterThanOrEqual(10_000);
  expect(deadline).toBeLessThan(12_000);
});

test("a step has ten times what it takes on a slow machine: 30 GMAC/s with vectors, 2 without, torch as the oracle", () => {
  const takes = (speed: number) => ((512 * LARGE.perToken) / speed) * 1000;
  expect(new StepDeadlines(LARGE, cpu).of(PREFILL)).toBeGreaterThan(10 * takes(30e9));
  expect(new StepDeadlines(LARGE, { ...cpu, isa: "scalar" }).of(PREFILL)).toBeGreaterThan(10 * takes(2e9));
  expect(new StepDeadlines(LARGE, { backend: "reference", isa: "", threads: 2 }).of(PREFILL)).toBeGreaterThan(
    10 * takes(5e7),
  );
});

test("a GPU's first step of its sizes has the time to compile, later ones do not need it", () => {
  const deadlines = new StepDeadlines(SMALL, { backend: "cuda", isa: "sm_90", threads: 1 });
  expect(deadlines.of(DECODE)).toBeGreaterThanOrEqual(300_000);
  deadlines.took(DECODE, 20_000);
  expect(deadlines.of(DECODE)).toBeLessThan(70_000);
  expect(deadlines.of(PREFILL)).toBeGreaterThanOrEqual(300_000);
});

test("steps that were slower than foreseen widen the deadlines of those that follow", () => {
  const deadlines = new StepDeadlines(SMALL, cpu);
  const before = deadlines.of(PREFILL);
  deadlines.took(PREFILL, before - 1); // It came in at the last moment.
  expect(deadlines.of(PREFILL)).toBeGreaterThan(2 * before);
  deadlines.took(DECODE, 1);
  expect(deadlines.of(PREFILL)).toBeGreaterThan(2 * before);
});
