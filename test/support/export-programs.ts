/**
 * Writes the programs that the proofs of the kernels read: `export-programs.ts FOLDER`, one file each.
 * `tiny-*` are run, so they bring their constants and cover every family and option; the others have the sizes of real
 * models (`kernels/proofs/models`), and are planned, compiled and counted.
 */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, parse } from "node:path";
import type { Sizes } from "../../protocol/messages.ts";
import { buildModel, describeModel, type ModelOptions, modelOfConfig } from "../../ts/model/families/index.ts";
import { MODEL_DEFAULTS } from "../../ts/plan/settings.ts";
import { exportProgram } from "../../ts/program/export.ts";
import { fuse } from "../../ts/program/fuse.ts";
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

async function write(folder: string, name: string, wanted: Wanted): Promise<void> {
  const { config, options, limits, unfused = false, constants = false } = wanted;
  const manifest = modelOfConfig(`${name}.json`, config);
  const built = buildModel(manifest, options);
  const { family } = describeModel(manifest);
  const model = { path: name, family, architecture: String((config.architectures as string[])[0]) };
  const file = exportProgram(unfused ? built : fuse(built), { model, options, limits }, { constants });
  await writeFile(join(folder, `${name}.json`), JSON.stringify(file));
}

const folder = process.argv[2];
if (folder === undefined) throw new Error("usage: export-programs.ts FOLDER");
await mkdir(folder, { recursive: true });
for (const [name, wanted] of Object.entries(TINY)) await write(folder, `tiny-${name}`, tiny(wanted));
const models = join(import.meta.dirname, "../../kernels/proofs/models");
for (const file of (await readdir(models)).sort())
  await write(folder, parse(file).name, real(JSON.parse(await readFile(join(models, file), "utf8"))));
