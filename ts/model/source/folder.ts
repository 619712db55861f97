/** A model folder as transformers writes it: config, safetensors (in shards or not), tokenizer files. */
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { OctavoError } from "../../errors.ts";
import { type GenerationDefaults, generationDefaults, generationDefaultsOfConfig } from "./generation-config.ts";
import type { Manifest, TensorEntry } from "./manifest.ts";
import { invalid } from "./ranges.ts";
import { parseObject, readSafetensors } from "./safetensors.ts";

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string().max(1024)) });

/**
 * Reads headers only. Throws `OCTAVO_MODEL_INCOMPLETE` when a file or a tensor of the index is missing, and what
 * `readSafetensors` throws.
 */
export async function openFolder(path: string): Promise<Manifest> {
  const config = await readJson(join(path, "config.json"));
  if (!config) throw incomplete(path, "no config.json in the folder: it is not a model, or its download did not end");
  const [tensors, generation, tokenizer] = await Promise.all([
    readTensors(path),
    readGeneration(path, config),
    readTokenizer(path),
  ]);
  // Chat models list the tokens that end a turn there, and often only one of them in config.json.
  const ends = [config.eos_token_id ?? [], generation.eosTokenIds].flat();
  const merged = ends.length > 0 ? { ...config, eos_token_id: [...new Set(ends)] } : config;
  return { path, format: "safetensors", tensors, config: merged, tokenizer, generation };
}

async function readGeneration(path: string, config: Record<string, unknown>): Promise<GenerationDefaults> {
  const file = join(path, "generation_config.json");
  const generation = await readJson(file);
  return generation
    ? generationDefaults(file, generation)
    : generationDefaultsOfConfig(join(path, "config.json"), config);
}

async function readTensors(path: string): Promise<Map<string, TensorEntry>> {
  const indexFile = join(path, "model.safetensors.index.json");
  const index = await readJson(indexFile);
  if (!index) {
    const single = join(path, "model.safetensors");
    if (await exists(single)) return readSafetensors(single);
    throw incomplete(path, "neither model.safetensors nor model.safetensors.index.json in the folder");
  }
  const parsed = indexSchema.safeParse(index);
  if (!parsed.success) throw invalid(indexFile, z.prettifyError(parsed.error));
  return readShards(path, indexFile, Object.entries(parsed.data.weight_map));
}

async function readShards(
  path: string,
  indexFile: string,
  placed: [string, string][],
): Promise<Map<string, TensorEntry>> {
  const names = [...new Set(placed.map(([, shard]) => shard))];
  for (const shard of names) {
    if (!/^[^/\\]+\.safetensors$/.test(shard)) throw invalid(indexFile, `"${shard}" is not a file of this folder`);
    if (!(await exists(join(path, shard)))) {
      throw incomplete(path, `shard ${shard} of ${names.length} is missing; fetch it into the folder`);
    }
  }
  const shards = new Map<string, Map<string, TensorEntry>>();
  await Promise.all(names.map(async (shard) => shards.set(shard, await readSafetensors(join(path, shard)))));
  const tensors = new Map<string, TensorEntry>();
  for (const [name, shard] of placed) {
    const entry = shards.get(shard)?.get(name);
    if (!entry) throw incomplete(path, `tensor ${name} is not in ${shard}, where ${indexFile} places it`);
    tensors.set(name, entry);
  }
  return tensors;
}

async function readTokenizer(path: string): Promise<Manifest["tokenizer"]> {
  const [tokenizerJson, tokenizerConfig, template] = await Promise.all([
    readJson(join(path, "tokenizer.json")),
    readJson(join(path, "tokenizer_config.json")),
    readText(join(path, "chat_template.jinja")),
  ]);
  if (!tokenizerJson) return undefined;
  // Newer transformers writes the template into a file of its own, which then is the one that counts.
  const withTemplate = template === undefined ? {} : { chat_template: template };
  return { tokenizerJson, tokenizerConfig: { ...tokenizerConfig, ...withTemplate } };
}

async function readJson(file: string): Promise<Record<string, unknown> | undefined> {
  const text = await readText(file);
  return text === undefined ? undefined : parseObject(file, text);
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `${file} cannot be read`, { cause });
  }
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

function incomplete(path: string, message: string): OctavoError {
  return new OctavoError("OCTAVO_MODEL_INCOMPLETE", `${path}: ${message}`);
}
