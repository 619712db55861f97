/**
 * Whole programs through the kernels and the executor of the CUDA backend, in Triton's interpreter, against the CPU backend
 * and the oracle. If these fail, a model on a GPU is another model than on a CPU, or answers depend on who else asks.
 * Programs of all families and options: kernels/tests/triton_kernels/test_executor.py.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../ts/index.ts";
import { openModel } from "../ts/model/source/index.ts";
import { Pool } from "../ts/pool.ts";
import { fuse } from "../ts/program/fuse.ts";
import { answerAlone, answerTogether, randomJobs } from "./support/answers.ts";
import { logitsProgram, type StepOptions, stepLogits } from "./support/step-logits.ts";
import { type TinyModel, type TinyOptions, writeTinyModel } from "./support/tiny-model.ts";

const DEVICE = "triton-interpreter:0";
/** A few seconds each: the interpreter runs every program of a grid in numpy. */
const TIMEOUT = 120_000;

const CASES: readonly (readonly [string, TinyOptions, StepOptions])[] = [
  ["the adaptive threshold", {}, { threshold: "adaptive" }],
  [
    "every activation an outlier, a window, 8-bit KV",
    { family: "mistral", window: 8 },
    { threshold: "all", kv: "int8" },
  ],
];

describe("programs", () => {
  let pool: Pool;
  beforeAll(async () => {
    pool = await Pool.start({ devices: ["cpu:0", DEVICE], threads: 2 });
  });
  afterAll(() => pool.dispose());

  it.each(CASES)(
    "with %s have the CPU's logits, fused or not, in one chunk or several",
    async (_name, tiny, options) => {
      await using model = await writeTinyModel({ layers: 1, ...tiny });
      const manifest = await openModel(model.path);
      const unfused = logitsProgram(manifest, options);
      const logits = async (device: string, program: typeof unfused, ends: readonly number[]) => {
        const steps = await stepLogits(pool.device(device), manifest, program, ends);
        return steps.flatMap((rows) => [...rows]);
      };
      const expected = await logits("cpu:0", unfused, [17, 18]);
      expect(expected.every(Number.isFinite)).toBe(true);
      expect(await logits(DEVICE, fuse(unfused), [11, 17, 18])).toEqual(expected); // The second chunk begins a KV page.
      expect(await logits(DEVICE, unfused, [3, 4])).toEqual(expected.slice(0, 4 * model.vocabulary));
    },
    TIMEOUT,
  );
});

describe("requests", () => {
  let model: TinyModel;
  beforeAll(async () => {
    model = await writeTinyModel({ layers: 1 });
  });
  afterAll(() => model[Symbol.asyncDispose]());

  it(
    "get the ids and logits of the CPU and of the oracle, alone and together with others in chunks",
    async () => {
      const jobs = randomJobs(3, model.vocabulary, 20).map(({ prompt, options }, index) => ({
        prompt: prompt.slice(0, [17, 5, 3][index]),
        options: { ...options, maxTokens: 3 },
      }));
      const schedule = { context: 64, sequences: 3, tokenBudget: 11, threads: 1 };
      const [cpu, oracle, engine] = await Promise.all(
        ["cpu:0", "reference:0", DEVICE].map((devices) => Engine.load(model.path, { devices, ...schedule })),
      );
      const expected = await answerTogether(cpu!, jobs);
      // The oracle's logprobs are rounded from float64: docs/numerics.md.
      const withoutLogprobs = expected.map(({ logprobs: _, ...answer }) => answer);
      expect(await answerTogether(oracle!, jobs)).toMatchObject(withoutLogprobs);
      expect(await answerTogether(engine!, jobs)).toEqual(expected);
      expect(await answerAlone(engine!, jobs)).toEqual(expected);
      const [report] = await engine!.memory();
      expect(report!.committed).toBe(report!.planned);
      await Promise.all([cpu, oracle, engine].map((each) => each!.dispose()));
    },
    TIMEOUT,
  );
});
