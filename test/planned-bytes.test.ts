/**
 * Every byte is planned: weights, scales, KV pages, arena and workspace take what the plan said, after the load, after the
 * program with logits, after requests; what remains of the worker's memory is the worker itself. If these fail, a plan that
 * fits ends in the middle of an answer, and nobody can say who has the memory.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import type { Sizes } from "../protocol/messages.ts";
import { Engine, type LoadOptions } from "../ts/index.ts";
import { buildModel, type ModelOptions, modelOfConfig } from "../ts/model/families/index.ts";
import { processBytes } from "../ts/plan/process-bytes.ts";
import { workspaceNeeds, workspaceOn } from "../ts/plan/workspace.ts";
import { fuse } from "../ts/program/fuse.ts";
import { lower } from "../ts/program/lower.ts";
import type { Program } from "../ts/program/program.ts";
import { findPython, workerEnvironment } from "../ts/python.ts";
import { encodeRequest } from "../ts/workers/codec.ts";
import { type TinyOptions, writeTinyModel } from "./support/tiny-model.ts";

const CASES: Readonly<Record<string, readonly [TinyOptions, LoadOptions]>> = {
  llama: [{}, {}],
  "a 16-bit head": [{}, { head: "16bit" }],
  "qwen2, the paper's threshold": [
    { family: "qwen2", tied: true, type: "BF16" },
    { threshold: 6, context: 200 },
  ],
  "mistral, no outliers": [{ family: "mistral" }, { threshold: 0, sequences: 2 }],
  "16-bit weights": [
    { type: "BF16", config: { num_key_value_heads: 4 } },
    { weights: "16bit", tokenBudget: 200 },
  ],
  "tied, the embedding as the head": [{ tied: true }, { head: "16bit" }],
  "an int8 head of tied embeddings, no outliers": [
    { tied: true, config: { octavo_rope_pairing: "interleaved" } },
    { head: "int8", headThreshold: 0 },
  ],
  "biases, gelu": [
    { config: { attention_bias: true, mlp_bias: true, hidden_act: "gelu_pytorch_tanh", head_dim: 32 } },
    {},
  ],
};
/** What a worker may take more than at its start: the plan sets it aside. Tiny models' loads take nothing worth naming. */
const GROWTH = processBytes("cpu", 0, 0, 0);

async function follow(model: string, options: LoadOptions, work: { prompt: number; maxTokens: number }) {
  await using engine = await Engine.load(model, { context: 256, sequences: 4, tokenBudget: 64, ...options });
  const check = async () => {
    const reports = await engine.memory();
    for (const report of reports) {
      expect(report.byKind).toEqual(report.plannedByKind);
      expect(report.resident + report.unattributed).toBe(report.measured);
      expect(report.unattributed).toBeGreaterThan(0);
    }
    return reports.map(({ unattributed }) => unattributed);
  };
  const before = await check();
  const prompt = Array.from({ length: work.prompt }, (_, index) => 3 + index);
  for (const logits of [false, true]) {
    const drawn = { maxTokens: work.maxTokens, ignoreEos: true, temperature: 1, seed: 1, logits };
    await engine.generate(prompt, drawn).complete();
    // The memory in which ranks meet is each one's in what the system counts.
    for (const [rank, after] of (await check()).entries())
      expect(Math.abs(after - before[rank]!)).toBeLessThan(GROWTH + engine.plan.details.collectives);
  }
}

describe.each(Object.entries(CASES))("%s", (_, [tiny, options]) => {
  it.each([1, 2])("on the CPU with %i threads", async (threads) => {
    await using model = await writeTinyModel(tiny);
    await follow(model.path, { ...options, devices: "cpu:0", threads }, { prompt: 40, maxTokens: 4 });
  });

  it("in the interpreter", { timeout: 240_000 }, async () => {
    await using model = await writeTinyModel({ ...tiny, layers: 1 });
    const small = { ...options, tokenBudget: 8, threads: 1, devices: "triton-interpreter:0" };
    await follow(model.path, small, { prompt: 3, maxTokens: 1 });
  });
});

it.each(["llama", "16-bit weights", "an int8 head of tied embeddings, no outliers"])(
  "%s: on two workers, each to the byte",
  async (name) => {
    const [tiny, options] = CASES[name]!;
    await using model = await writeTinyModel(tiny);
    const cut = { ...options, shares: [2, 1], devices: "cpu:0,cpu:1", threads: 2 };
    await follow(model.path, cut, { prompt: 40, maxTokens: 4 });
  },
);

/** Sizes as they are published; one layer, for they are alike. */
const CONFIGS = {
  smollm2: [576, 1536, 9, 3, 49_152],
  "Llama-3-8B": [4096, 14_336, 32, 8, 128_256],
  "Qwen2.5-32B": [5120, 27_648, 40, 8, 152_064],
} as const;
const LIMITS = [
  { T: 512, S: 8, B: 8, J: 256, H: 32_768, D: 8192, Q: 8 },
  { T: 1, S: 1, B: 1, J: 2048, H: 32_768, D: 1024, Q: 1 },
  { T: 2048, S: 64, B: 64, J: 512, H: 524_288, D: 65_536, Q: 64 },
];
/** For each of these. */
const OPTIONS: readonly Partial<ModelOptions>[] = [
  { output: { type: "sample", logits: true } },
  { output: { type: "score", reference: "read" }, weights: "int8", threshold: 6 },
  { output: { type: "logits" }, weights: "16bit", scheme: { codes: "zeropoint", scope: "vector", threshold: 6 } },
];

it("the workspace is foreseen as the backends take it, with any number of threads, on any GPU", {
  timeout: 120_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "octavo-test-"));
  const programs: { readonly program: Program; readonly limits: Sizes; readonly file: string }[] = [];
  for (const [hidden, inner, heads, kvHeads, vocabulary] of Object.values(CONFIGS))
    for (const [index, limits] of LIMITS.entries()) {
      const config = {
        ...{ architectures: ["LlamaForCausalLM"], hidden_size: hidden, intermediate_size: inner, num_hidden_layers: 1 },
        ...{ num_attention_heads: heads, num_key_value_heads: kvHeads, vocab_size: vocabulary },
        max_position_embeddings: 32_768,
      };
      const shared = {
        weights: "int8",
        head: "16bit",
        threshold: "adaptive",
        headThreshold: "all",
        context: 32_768,
        pages: 8,
        kv: "int16",
      };
      const options = { ...shared, rows: limits.S, ...OPTIONS[index] } as ModelOptions;
      const program = fuse(buildModel(modelOfConfig("config.json", config), options));
      const handles = new Map([...program.parameters.keys()].map((name, index) => [name, index + 1]));
      const { message } = lower(program, (name) => handles.get(name)!, limits);
      const file = join(folder, `${programs.length}.msgpack`);
      await writeFile(file, encodeRequest({ kind: "define", id: 1, epoch: 1, program: 1000, ...message }));
      programs.push({ program, limits, file });
    }
  const script = join(import.meta.dirname, "support/workspace_bytes.py");
  const files = programs.map(({ file }) => file);
  const { stdout } = await execa(findPython(), [script, ...files], { env: workerEnvironment("") });
  const taken = JSON.parse(stdout) as Record<"cpu" | "cuda", Record<string, number>>[];
  for (const [index, { program, limits }] of programs.entries()) {
    const needs = workspaceNeeds(program, limits);
    for (const [threads, bytes] of Object.entries(taken[index]!.cpu))
      expect(workspaceOn(needs, { backend: "cpu", threads: Number(threads) })).toBe(bytes);
    for (const bytes of Object.values(taken[index]!.cuda))
      expect(workspaceOn(needs, { backend: "cuda", threads: 1 })).toBe(bytes);
  }
  await rm(folder, { recursive: true });
});
