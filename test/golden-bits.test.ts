/**
 * Ids and logits are those of the day test/golden/bits.json was written, on every backend and instruction set of this machine.
 * If these fail, an update of Octavo answers otherwise than before, and whoever stored answers, or compares two machines,
 * finds another model. A change on purpose writes the file anew (`OCTAVO_WRITE_GOLDEN=1 npx vitest run test/golden-bits.test.ts`)
 * and says why in CHANGELOG.md.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine, type LoadOptions, Pool } from "../ts/index.ts";
import { answerTogether, type Job, randomJobs } from "./support/answers.ts";
import { type TinyModel, type TinyOptions, writeTinyModel } from "./support/tiny-model.ts";

const FILE = new URL("golden/bits.json", import.meta.url);
const WRITE = process.env.OCTAVO_WRITE_GOLDEN !== undefined;
type Bits = readonly { readonly ids: readonly number[]; readonly logits: string }[];
const golden: Record<string, Bits> = JSON.parse(readFileSync(FILE, "utf8"));

const CASES: Readonly<Record<string, readonly [TinyOptions, LoadOptions]>> = {
  llama: [{}, { head: "16bit" }],
  "llama, int8 to the end": [{}, { head: "auto" }],
  "qwen2, the paper's threshold": [
    { family: "qwen2", tied: true, type: "BF16" },
    { head: "16bit", threshold: 6 },
  ],
  "qwen2, tied, int8 to the end": [{ family: "qwen2", tied: true, type: "BF16" }, { head: "auto" }],
  "mistral, every activation an outlier": [{ family: "mistral" }, { head: "16bit", threshold: "all", kv: "int8" }],
  "16-bit weights": [{ type: "BF16", config: { num_key_value_heads: 4 } }, { weights: "16bit" }],
  "interleaved rope, an int8 head, no outliers": [
    { tied: true, config: { octavo_rope_pairing: "interleaved" } },
    { threshold: 0, head: "int8", headThreshold: 0 },
  ],
  "biases everywhere, gelu": [
    { config: { attention_bias: true, mlp_bias: true, hidden_act: "gelu_pytorch_tanh", head_dim: 32 } },
    { head: "16bit", threshold: { absolute: 2, relative: 3 } },
  ],
};
/** The demo model by its head. */
const DEMO = { "16bit": "the demo model", auto: "the demo model, int8 to the end" } as const;

/** Short ones, for the interpreter's sake. */
function tinyJobs(requests: number): Job[] {
  return randomJobs(6, 300, 20)
    .slice(0, requests)
    .map(({ prompt, options }) => ({ prompt, options: { ...options, maxTokens: Math.min(options.maxTokens!, 4) } }));
}

async function bits(model: string, options: LoadOptions, jobs: readonly Job[]): Promise<Bits> {
  await using engine = await Engine.load(model, {
    context: 256,
    sequences: 4,
    tokenBudget: 64,
    threads: 1,
    ...options,
  });
  const answers = await answerTogether(engine, jobs);
  return answers.map(({ ids, logits }) => ({ ids, logits: createHash("sha256").update(logits.join()).digest("hex") }));
}

function check(name: string, found: Bits): void {
  if (WRITE) {
    golden[name] ??= found;
    writeFileSync(FILE, `${JSON.stringify(golden, undefined, 1)}\n`);
  }
  expect(found).toEqual(golden[name]!.slice(0, found.length));
}

/** The interpreter is slow: it answers the first request only. */
const BACKENDS = [
  { devices: "cpu:0", requests: 6 },
  { devices: "reference:0", requests: 6 },
  { devices: "triton-interpreter:0", requests: 1 },
];

describe.each(Object.entries(CASES))("%s", (name, [tiny, options]) => {
  let model: TinyModel;
  beforeAll(async () => {
    model = await writeTinyModel(tiny);
  });
  afterAll(() => model[Symbol.asyncDispose]());
  it.each(BACKENDS)("$devices", { timeout: 240_000 }, async ({ devices, requests }) => {
    check(name, await bits(model.path, { ...options, devices }, tinyJobs(requests)));
  });
});

describe("every instruction set of this machine", async () => {
  await using pool = await Pool.start({ devices: "cpu:0", threads: 1 });
  const { isas } = pool.devices[0]!.description;
  const before = process.env.OCTAVO_ISA;
  afterAll(() => {
    if (before === undefined) delete process.env.OCTAVO_ISA;
    else process.env.OCTAVO_ISA = before;
  });

  it.each(isas)("%s", async (isa) => {
    process.env.OCTAVO_ISA = isa;
    await using model = await writeTinyModel(CASES.llama![0]);
    for (const name of ["llama", "llama, int8 to the end"])
      check(name, await bits(model.path, { ...CASES[name]![1], devices: "cpu:0" }, tinyJobs(6)));
    for (const head of ["16bit", "auto"] as const)
      check(DEMO[head], await bits("smollm2", { head, devices: "cpu:0" }, randomJobs(3, 49_152, 70)));
  });
});
