/** A model folder as transformers writes it: config, safetensors (in shards or not), tokenizer files. */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { OctavoError } from "../../errors.ts";
import { cut, quoted } from "../../quoted.ts";
import { isAbsent, MAX_CONFIG_BYTES, readBytes } from "../../regular-file.ts";
import { type GenerationDefaults, generationDefaults, generationDefaultsOfConfig } from "./generation-config.ts";
import { parseObject } from "./json.ts";
import type { Manifest, TensorEntry } from "./manifest.ts";
import { invalid } from "./ranges.ts";
import { type FileTensors, readSafetensors } from "./safetensors.ts";

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string().max(1024)) });

/** The largest models have 100,000 tensors, and an index of 10 MB. */
const MAX_INDEX_BYTES = 32 * 2 ** 20;

/** Beside a base model, transformers adds it to the weights when it loads them. */
const ADAPTER = "adapter_config.json";

/**
 * Reads headers only. Throws `OCTAVO_MODEL_INCOMPLETE` when a file or a tensor of the index is missing, and what
 * `readSafetensors` and `readBytes` throw.
 */
export async function openFolder(path: string): Promise<Manifest> {
  const config = await readJson(join(path, "config.json"), MAX_CONFIG_BYTES);
  if (!config) throw incomplete(path, "no config.json in the folder: it is not a model, or its download did not end");
  if (await exists(join(path, ADAPTER)))
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `${path}: ${ADAPTER} in the folder: an adapter (LoRA) that would not be applied; merge it into the weights, or move it away to use the model without it`,
    );
  const [{ tensors, unloadable }, generation, tokenizer] = await Promise.all([
    readTensors(path),
    readGeneration(path, config),
    readTokenizer(path),
  ]);
  // Chat models list the tokens that end a turn there, and often only one of them in config.json.
  const ends = [config.eos_token_id ?? [], generation.eosTokenIds].flat();
  const merged = ends.length > 0 ? { ...config, eos_token_id: [...new Set(ends)] } : config;
  return { path, format: "safetensors", tensors, unloadable, config: merged, tokenizer, generation };
}

async function readGeneration(path: string, config: Record<string, unknown>): Promise<GenerationDefaults> {
  const file = join(path, "generation_config.json");
  const generation = await readJson(file, MAX_CONFIG_BYTES);
  return generation
    ? generationDefaults(file, generation)
    : generationDefaultsOfConfig(join(path, "config.json"), config);
}

/** One file, or the shards of an index; of both, transformers takes the file. */
async function readTensors(path: string): Promise<FileTensors> {
  const single = join(path, "model.safetensors");
  if (await exists(single)) return readSafetensors(single);
  const indexFile = join(path, "model.safetensors.index.json");
  const index = await readJson(indexFile, MAX_INDEX_BYTES);
  if (!index) throw incomplete(path, "neither model.safetensors nor model.safetensors.index.json in the folder");
  const parsed = indexSchema.safeParse(index);
  if (!parsed.success) throw invalid(indexFile, cut(z.prettifyError(parsed.error)));
  return readShards(path, indexFile, Object.entries(parsed.data.weight_map));
}

/** All tensors of the shards, those that the index forgot as well: a tensor left out would be left out without a word. */
async function readShards(path: string, indexFile: string, placed: [string, string][]): Promise<FileTensors> {
  const names = [...new Set(placed.map(([, shard]) => shard))];
  for (const shard of names) {
    if (!/^[^/\\]+\.safetensors$/.test(shard))
      throw invalid(indexFile, `${quoted(shard)} is not a file of this folder`);
    if (!(await exists(join(path, shard))))
      throw incomplete(path, `shard ${shard} of ${names.length} is missing; fetch it into the folder`);
  }
  const shards = await Promise.all(names.map((shard) => readSafetensors(join(path, shard))));
  const tensors = new Map<string, TensorEntry>();
  const unloadable = new Map<string, string>();
  const places = new Map<string, string>();
  for (const [index, shard] of shards.entries()) {
    for (const name of [...shard.tensors.keys(), ...shard.unloadable.keys()]) {
      const other = places.get(name);
      if (other !== undefined) throw invalid(path, `tensor ${cut(name)} is in both ${other} and ${names[index]}`);
      places.set(name, names[index] ?? "");
    }
    for (const [name, entry] of shard.tensors) tensors.set(name, entry);
    for (const [name, type] of shard.unloadable) unloadable.set(name, type);
  }
  for (const [name, shard] of placed) {
    if (places.get(name) !== shard)
      throw incomplete(path, `tensor ${cut(name)} is not in ${shard}, where ${indexFile} places it`);
  }
  return { tensors, unloadable };
}

async function readTokenizer(path: string): Promise<Manifest["tokenizer"]> {
  const [tokenizerJson, tokenizerConfig, template] = await Promise.all([
    readJson(join(path, "tokenizer.json")),
    readJson(join(path, "tokenizer_config.json")),
    read(join(path, "chat_template.jinja")),
  ]);
  if (!tokenizerJson) return undefined;
  // Newer transformers writes the template into a file of its own, which then is the one that counts.
  const withTemplate = template === undefined ? {} : { chat_template: template.toString("utf8") };
  return { tokenizerJson, tokenizerConfig: { ...tokenizerConfig, ...withTemplate } };
}

async function readJson(file: string, limit?: number): Promise<Record<string, unknown> | undefined> {
  const content = await read(file, limit);
  return content === undefined ? undefined : parseObject(file, content);
}

/** Undefined for a file that is not there. */
async function read(file: string, limit?: number): Promise<Buffer | undefined> {
  return readBytes(file, limit).catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw error;
  });
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
