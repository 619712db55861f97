/** Where a model lies: one name or path -> its manifest. Reads headers only. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { OctavoError } from "../../errors.ts";
import { openFolder } from "./folder.ts";
import { openGguf } from "./gguf.ts";
import { findInCache, parseHubId } from "./hub.ts";
import type { Manifest } from "./manifest.ts";
import { findPackaged } from "./packaged.ts";

export interface OpenOptions {
  /** The Python in which packaged models are looked for; found as for workers when it is left out. */
  readonly python?: string;
}

/**
 * Opens `"smollm2"` (the demo model's Python package), a `.gguf` file, a folder with safetensors or one GGUF file, a file in
 * such a folder (`config.json`, a shard), or a hub id (`org/name@revision`) that is in the local cache. Never uses the network.
 *
 * Throws `OCTAVO_MODEL_NOT_FOUND`, `OCTAVO_MODEL_INCOMPLETE`, `OCTAVO_MODEL_FILE_INVALID`, `OCTAVO_UNKNOWN_ARCHITECTURE` or
 * `OCTAVO_UNSUPPORTED_MODEL`.
 */
export async function openModel(model: string, options: OpenOptions = {}): Promise<Manifest> {
  if (model.trim() === "" || model.includes("\0")) {
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", "the model is an empty name; give a folder, a .gguf file or a hub id");
  }
  const packaged = await findPackaged(model, options.python);
  if (packaged) return openGguf(packaged);
  const path = resolve(model);
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile()) return openFile(path);
  if (found?.isDirectory()) return openDirectory(path);
  const id = parseHubId(model);
  const cached = id && (await findInCache(id));
  if (cached) return openDirectory(cached);
  const hint = id
    ? `and the hub's cache has no ${id.name} (${id.revision}); fetch it with: npx octavo pull ${model}`
    : "and it is no hub id (org/name)";
  throw new OctavoError("OCTAVO_MODEL_NOT_FOUND", `${model}: there is no ${path}, ${hint}`);
}

function openFile(path: string): Promise<Manifest> {
  if (path.endsWith(".gguf")) return openGguf(path);
  if (/\.(safetensors|json)$/.test(basename(path))) return openFolder(dirname(path));
  throw new OctavoError(
    "OCTAVO_MODEL_NOT_FOUND",
    `${path} is no model file; models are .gguf files and folders with config.json and .safetensors`,
  );
}

async function openDirectory(path: string): Promise<Manifest> {
  const names = await readdir(path);
  const gguf = names.filter((name) => name.endsWith(".gguf"));
  if (names.includes("config.json") || gguf.length === 0) return openFolder(path);
  if (gguf.length === 1 && gguf[0]) return openGguf(join(path, gguf[0]));
  throw new OctavoError(
    "OCTAVO_MODEL_NOT_FOUND",
    `${path} holds ${gguf.length} GGUF files; name the one to open: ${gguf.sort().slice(0, 8).join(", ")}`,
  );
}
