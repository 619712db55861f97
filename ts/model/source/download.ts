/** Fetching a model from the Hugging Face hub into the cache. The only place that uses the network, and only when asked. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { variable } from "../../environment.ts";
import { badArgument, codeOf, type ErrorCode, messageOf, OctavoError } from "../../errors.ts";
import { cut } from "../../quoted.ts";
import { parseHubId } from "./hub.ts";

export interface DownloadOptions {
  /** Called before each file. */
  readonly onFile?: (file: string, index: number, files: number) => void;
  /** For private and gated models. Default: the environment's HF_TOKEN. */
  readonly token?: string | undefined;
  /** Default: the environment's HF_ENDPOINT, else the public hub. */
  readonly hubUrl?: string | undefined;
}

/**
 * Fetches what Octavo reads: config, tokenizer and safetensors, or the GGUF file of a repository that has only that. Files that
 * are in the cache are not fetched again. Returns their folder. Throws `OCTAVO_BAD_ARGUMENT`, `OCTAVO_MODEL_NOT_FOUND`,
 * `OCTAVO_MODEL_ACCESS_DENIED`, `OCTAVO_HUB_UNAVAILABLE` or `OCTAVO_FILE_NOT_READABLE` (the cache cannot be written to).
 */
export async function downloadModel(model: string, options: DownloadOptions = {}): Promise<string> {
  const id = parseHubId(model);
  if (!id) throw badArgument(`"${model}" is not a hub id; they look like org/name@revision`);
  const hub = await import("@huggingface/hub");
  const token = options.token ?? variable("HF_TOKEN");
  const hubUrl = options.hubUrl ?? variable("HF_ENDPOINT");
  const access = {
    repo: { type: "model" as const, name: id.name },
    ...(token ? { accessToken: token } : {}),
    ...(hubUrl ? { hubUrl } : {}),
  };
  try {
    const { sha } = await hub.modelInfo({ ...access, name: id.name, revision: id.revision, additionalFields: ["sha"] });
    const listed: string[] = [];
    for await (const { type, path } of hub.listFiles({ ...access, revision: sha })) {
      if (type === "file") listed.push(path);
    }
    const files = neededFiles(listed, model);
    const folder = join(hub.getHFHubCachePath(), hub.getRepoFolderName({ type: "model", name: id.name }));
    for (const [index, path] of files.entries()) {
      options.onFile?.(path, index, files.length);
      await hub.downloadFileToCacheDir({ ...access, path, revision: sha });
    }
    // Last, so that a download that stopped half way is not taken for a model.
    const reference = join(folder, "refs", id.revision);
    await mkdir(dirname(reference), { recursive: true });
    await writeFile(reference, sha);
    return join(folder, "snapshots", sha);
  } catch (cause) {
    throw failure(model, cause);
  }
}

/** Why it could not be fetched, and whether it is worth trying again. */
function failure(model: string, cause: unknown): OctavoError {
  if (OctavoError.isInstance(cause)) return cause;
  const error = (code: ErrorCode, why: string) =>
    new OctavoError(code, `${model} could not be fetched from the hub: ${why}`, { cause });
  const reason = reasonOf(cause);
  const status = isObject(cause) && "statusCode" in cause ? Number(cause.statusCode) : undefined;
  // The hub says 401 also of what does not exist, to those who do not say who they are.
  if (status === 401 || status === 403) {
    const advice =
      "the model is private or gated, or there is none of this name; set HF_TOKEN to a token that may read it";
    return error("OCTAVO_MODEL_ACCESS_DENIED", `it answers ${status} (${reason}): ${advice}`);
  }
  if (status === 404) return error("OCTAVO_MODEL_NOT_FOUND", `it has no such model, or revision (${reason})`);
  if (status !== undefined) return error("OCTAVO_HUB_UNAVAILABLE", `it answers ${status} (${reason}); try again later`);
  if (codeOf(cause) !== undefined && !isNetwork(cause))
    return error("OCTAVO_FILE_NOT_READABLE", `the cache cannot be written to: ${reason}`);
  return error("OCTAVO_HUB_UNAVAILABLE", `it cannot be reached (${reason}); check the network, or HF_ENDPOINT`);
}

/** fetch says "fetch failed", and why in its cause. */
function reasonOf(cause: unknown): string {
  const inner = isObject(cause) && "cause" in cause ? cause.cause : undefined;
  const why = inner === undefined ? "" : `: ${messageOf(inner) || codeOf(inner)}`;
  return cut(`${messageOf(cause)}${why}`, 300);
}

/** What Node's files throw names a system call of theirs: `open`, `write`, `mkdir`, `rename`. */
function isNetwork(error: unknown): boolean {
  if (!isObject(error) || !("syscall" in error)) return true;
  return ["connect", "getaddrinfo", "read"].includes(String(error.syscall));
}

/** Not `instanceof Error`: see `codeOf`. */
function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Of a repository's own files; those in folders are other forms of the same model. */
export function neededFiles(listed: readonly string[], model = "the repository"): string[] {
  const own = listed.filter((path) => !path.includes("/"));
  const described = own.filter((path) =>
    /^(config|generation_config|tokenizer|tokenizer_config)\.json$|^chat_template\.jinja$/.test(path),
  );
  const indexed = own.includes("model.safetensors.index.json");
  const weights = own.filter((path) =>
    indexed ? /^model.*\.safetensors(\.index\.json)?$/.test(path) : path === "model.safetensors",
  );
  if (weights.length > 0) return [...described, ...weights];
  const gguf = own.filter((path) => path.endsWith(".gguf"));
  if (gguf.length === 1) return gguf;
  const what =
    gguf.length > 1
      ? `it has ${gguf.length} GGUF files; fetch the one you want and give its path`
      : "it has neither model.safetensors nor a GGUF file";
  throw new OctavoError("OCTAVO_MODEL_NOT_FOUND", `${model}: ${what}`);
}
