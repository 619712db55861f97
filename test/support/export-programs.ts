/**
 * Writes the programs that the proofs of the kernels read: `export-programs.ts FOLDER`, one file each.
 * `tiny-*` are run, so they bring their constants and cover every family and option; the others have the sizes of real
 * models (`kernels/proofs/models`), and are planned, compiled and counted. `whole-NAME` is cut into the ranks that
 * `rank-0-of-2_1-NAME` and its neighbours are, by the shares in the name.
 */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, parse } from "node:path";
import type { Sizes } from "../../protocol/messages.ts";
import { buildModel, describeModel, type ModelOptions, modelOfConfig } from "../../ts/model/families/index.ts";
import { MODEL_DEFAULTS } from "../../ts/plan/settings.ts";
import { exportProgram } from "../../ts/program/export.ts";
import { fuse } from "../../ts/program/fuse.ts";
import { shard } from "../../ts/program/shard.ts";
import { type TinyOptions, tinyConfig } from "./tiny-model.ts";

interface Wanted {
  readonly config: Readonly<Record<string, unknown>>;
  readonly options: ModelOptions;
  readonly limits: Sizes;
  readonly unfused?: boolean;
  readonly constants?: boolean;
}

const TINY: Readonly<Record<string, readonly [TinyOptions, Partial<ModelOptions>, { readonly unfused?: boolean }?]>> = {
  llama: [{}, {}],
  "llama-unfused": [{}, {}, { unfused: true }],
  "llama-two-layers": [{ layers: 2 }, {}],
  "qwen2-tied": [{ family: "qwen2", tied: true }, { threshold: 6 }],
  "qwen2-tied-16bit-head": [{ family: "qwen2", tied: true }, { head: "16bit" }],
  "mistral-window": [
    { family: "mistral", window: 8 },
    { threshold: "all", kv: "int8" },
  ],
  "interleaved-int8-head": [
    { config: { octavo_rope_pairing: "interleaved" } },
    { threshold: 0, head: "int8", headThreshold: 0, output: { type: "logits" } },
  ],
  "weights-16bit": [{ type: "BF16", config: { num_key_value_heads: 4 } }, { weights: "16bit" }],
  scheme: [
    { family: "qwen2" },
    { weights: "16bit", scheme: { codes: "zeropoint", scope: "vector", threshold: 6 }, output: { type: "logits" } },
  ],
  "score-write": [{}, { weights: "16bit", output: { type: "score", reference: "write" } }],
  "score-read": [{}, { output: { type: "score", reference: "read" } }],
  observe: [{}, { weights: "16bit", observe: 6, output: { type: "logits" } }],
};

/** Heads, rows and columns that no number of ranks divides. */
const ODD = {
  ...{ num_attention_heads: 9, num_key_value_heads: 3, hidden_size: 72, intermediate_size: 101, vocab_size: 307 },
  ...{ attention_bias: true, mlp_bias: true },
};
const scheme = (scope: "row" | "vector") => ({ codes: "zeropoint", scope, threshold: 6 }) as const;
const logits = { type: "logits" } as const;
const RANKS: Readonly<Record<string, readonly [TinyOptions, Partial<ModelOptions>, readonly (readonly number[])[]]>> = {
  odd: [{ config: ODD }, {}, [[1, 1], [2, 1], [1, 1, 1], [1, 3, 1, 1], Array(9).fill(1)]],
  "qwen2-tied": [{ family: "qwen2", tied: true }, { threshold: 6 }, [[1, 1]]],
  "qwen2-tied-16bit-head": [{ family: "qwen2", tied: true }, { head: "16bit", output: logits }, [[1, 2, 1]]],
  "mistral-window": [{ family: "mistral", window: 8 }, { threshold: "all", kv: "int8" }, [[1, 1, 1, 1]]],
  "weights-16bit": [{ type: "BF16", layers: 2, config: ODD }, { weights: "16bit" }, [[1, 1, 1]]],
  scheme: [{}, { weights: "16bit", scheme: scheme("vector"), output: logits }, [[1, 2]]],
  "scheme-by-tensor": [{}, { weights: "16bit", head: "int8", scheme: scheme("row"), output: logits }, [[1, 1]]],
  "score-write": [{}, { weights: "16bit", output: { type: "score", reference: "write" } }, [[1, 1]]],
  "score-read": [{ config: ODD }, { output: { type: "score", reference: "read" } }, [[1, 1]]],
  observe: [{}, { observe: 1, output: logits }, [[1, 1]]],
};

function tiny([model, options, { unfused = false } = {}]: (typeof TINY)[string]): Wanted {
  return {
    config: tinyConfig({ layers: 1, ...model }),
    options: {
      ...MODEL_DEFAULTS,
      ...{ context: 96, pages: 24, rows: 6, output: { type: "sample", logits: true } },
      ...options,
    },
    limits: { T: 40, S: 6, B: 6, J: 6, H: 64, D: 16, Q: 2 },
    unfused,
    constants: true,
  };
}

/** 128 sequences of 4096 tokens; a prompt of 2048. */
function real(config: Wanted["config"]): Wanted {
  return {
    config,
    options: {
      ...MODEL_DEFAULTS,
      ...{ context: 4096, pages: 128 * 256, rows: 128, output: { type: "sample" } },
    },
    limits: { T: 2048, S: 128, B: 128, J: 256, H: 128 * 64, D: 128, Q: 128 },
  };
}

interface Ranks {
  readonly shares: readonly number[];
  readonly rank: number;
}

async function write(folder: string, name: string, wanted: Wanted, ranks: Ranks = { shares: [1], rank: 0 }) {
  const { config, options, limits, unfused = false, constants = false } = wanted;
  const manifest = modelOfConfig(`${name}.json`, config);
  const built = shard(buildModel(manifest, options), ranks.shares)[ranks.rank]!;
  const { family } = describeModel(manifest);
  const model = { path: name, family, architecture: String((config.architectures as string[])[0]) };
  const file = exportProgram(unfused ? built : fuse(built), { model, options, limits }, { constants });
  await writeFile(join(folder, `${name}.json`), JSON.stringify(file));
}

async function writeRanks(folder: string, name: string, [model, options, all]: (typeof RANKS)[string]): Promise<void> {
  await write(folder, `whole-${name}`, tiny([model, options, { unfused: true }]));
  for (const shares of all)
    for (const rank of shares.keys())
      await write(folder, `rank-${rank}-of-${shares.join("_")}-${name}`, tiny([model, options]), { shares, rank });
}

const folder = process.argv[2];
if (folder === undefined) throw new Error("usage: export-programs.ts FOLDER");
await mkdir(folder, { recursive: true });
for (const [name, wanted] of Object.entries(TINY)) await write(folder, `tiny-${name}`, tiny(wanted));
for (const [name, wanted] of Object.entries(RANKS)) await writeRanks(folder, name, wanted);
const models = join(import.meta.dirname, "../../kernels/proofs/models");
for (const file of (await readdir(models)).sort())
  await write(folder, parse(file).name, real(JSON.parse(await readFile(join(models, file), "utf8"))));
