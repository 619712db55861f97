/** Where a model lies: one name or path -> its manifest. Reads headers only. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { badArgument, OctavoError } from "../../errors.ts";
import { fileKind } from "../../regular-file.ts";
import { openFolder } from "./folder.ts";
import { openGguf } from "./gguf.ts";
import { findInCache, parseHubId } from "./hub.ts";
import type { Manifest } from "./manifest.ts";
import { findPackaged } from "./packaged.ts";

export interface OpenOptions {
  /** The Python in which packaged models are looked for; found as for workers when it is left out. */
  readonly python?: string | undefined;
}

/**
 * Opens `"smollm2"` (the demo model's Python package), a `.gguf` file, a folder with safetensors or one GGUF file, a file in
 * such a folder (`config.json`, a shard), or a hub id (`org/name@revision`) that is in the local cache. Never uses the network.
 *
 * Throws `OCTAVO_MODEL_NOT_FOUND`, `OCTAVO_FILE_NOT_READABLE`, `OCTAVO_MODEL_INCOMPLETE`, `OCTAVO_MODEL_FILE_INVALID`,
 * `OCTAVO_UNKNOWN_ARCHITECTURE` or `OCTAVO_UNSUPPORTED_MODEL`.
 */
export async function openModel(model: string, options: OpenOptions = {}): Promise<Manifest> {
  return openFound(await findModel(model, options));
}

/** Where a model lies: a `.gguf` file, or a folder as transformers writes it. */
export interface FoundModel {
  /** Absolute. */
  readonly path: string;
  readonly format: "gguf" | "folder";
  /** The folder has a config.json and no weights: enough to plan, not to load. */
  readonly onlyConfig: boolean;
}

export function openFound({ path, format }: FoundModel): Promise<Manifest> {
  return format === "gguf" ? openGguf(path) : openFolder(path);
}

/** The part of `openModel` that opens nothing. Throws `OCTAVO_BAD_ARGUMENT`, `OCTAVO_MODEL_NOT_FOUND` and `OCTAVO_FILE_NOT_READABLE`. */
export async function findModel(model: string, options: OpenOptions = {}): Promise<FoundModel> {
  if (model.trim() === "" || model.includes("\0"))
    throw badArgument("the model is an empty name; give a folder, a .gguf file or a hub id");
  const packaged = await findPackaged(model, options.python);
  if (packaged) return gguf(packaged);
  const path = resolve(model);
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile()) return findByFile(path);
  if (found?.isDirectory()) return findInFolder(path);
  if (found !== undefined) throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `${path} is ${fileKind(found)}, no model`);
  const id = parseHubId(model);
  const cached = id && (await findInCache(id));
  if (cached) return findInFolder(cached);
  const hint =
    id && !model.endsWith(".gguf")
      ? `and the hub's cache has no ${id.name} (${id.revision}); fetch it with: npx octavo pull ${model}`
      : "and it is no hub id (org/name)";
  throw new OctavoError("OCTAVO_MODEL_NOT_FOUND", `${model}: there is no ${path}, ${hint}`);
}

const gguf = (path: string): FoundModel => ({ path, format: "gguf", onlyConfig: false });

function folder(path: string, names: readonly string[]): FoundModel {
  const onlyConfig = names.includes("config.json") && !names.some((name) => /\.(safetensors|gguf)$/.test(name));
  return { path, format: "folder", onlyConfig };
}

async function findByFile(path: string): Promise<FoundModel> {
  if (path.endsWith(".gguf")) return gguf(path);
  if (/\.(safetensors|json)$/.test(basename(path))) return folder(dirname(path), await namesIn(dirname(path)));
  throw new OctavoError(
    "OCTAVO_MODEL_NOT_FOUND",
    `${path} is no model file; models are .gguf files and folders with config.json and .safetensors`,
  );
}

async function findInFolder(path: string): Promise<FoundModel> {
  const names = await namesIn(path);
  const weights = names.filter((name) => name.endsWith(".gguf"));
  if (names.includes("config.json") || weights.length === 0) return folder(path, names);
  if (weights.length === 1 && weights[0]) return gguf(join(path, weights[0]));
  throw new OctavoError(
    "OCTAVO_MODEL_NOT_FOUND",
    `${path} holds ${weights.length} GGUF files; name the one to open: ${weights.sort().slice(0, 8).join(", ")}`,
  );
}

async function namesIn(path: string): Promise<string[]> {
  return readdir(path).catch((cause: unknown) => {
    throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `${path} cannot be listed`, { cause });
  });
}
