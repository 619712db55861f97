/** What judging and inspecting a text share: the model's files, the text's tokens, a worker with nothing on it yet, and its steps. */
import type { Sizes } from "../../protocol/messages.ts";
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { NO_SIZES } from "../../protocol/sizes.ts";
import { formatBytes } from "../bytes.ts";
import { Residence } from "../deploy/residence.ts";
import { type DefineOptions, residentBytes } from "../deploy/resident.ts";
import { checkLoadOptions, type LoadOptions } from "../engine/load-options.ts";
import { badArgument, OctavoError } from "../errors.ts";
import { describeModel } from "../model/families/index.ts";
import { openModel } from "../model/source/index.ts";
import { Tokenizer } from "../model/tokenizer.ts";
import { isHostMemory } from "../plan/devices.ts";
import { equalShares, type ParallelOptions } from "../plan/parallel.ts";
import { Pool } from "../pool.ts";
import type { Program } from "../program/program.ts";
import { type Chunk, cutWindows } from "./windows.ts";

/** Tokens of a step: their logits, float32 over the whole vocabulary, are twice in memory. */
export const CHUNK = 128;
export const DEFAULT_WINDOW = 512;

export interface TextOptions
  extends ParallelOptions,
    Pick<LoadOptions, "devices" | "threads" | "head" | "headThreshold" | "kv" | "python" | "signal"> {
  /** Tokens per window; windows do not overlap. Default 512. */
  readonly window?: number | undefined;
  /** Only the first so many tokens of the text. */
  readonly tokens?: number | undefined;
  readonly onProgress?:
    | ((progress: { readonly stage: "weights" | "windows"; readonly done: number; readonly total: number }) => void)
    | undefined;
}

export type OpenedText = Awaited<ReturnType<typeof openText>>;

/**
 * Starts a worker last, which goes with what this gives. Throws what `Engine.load` throws of options and models, what `Pool.start` throws, and
 * `OCTAVO_BAD_ARGUMENT` for a text of less than two tokens.
 */
export async function openText(model: string, text: string, options: TextOptions) {
  const { devices, threads, head, headThreshold, kv, python, signal, tensorParallel, shares: given } = options;
  if ((options.pipelineParallel ?? 1) > 1)
    throw badArgument(
      "a text is judged with all layers on every device; leave pipelineParallel out (tensorParallel is fine)",
    );
  const worker = { devices, threads, python, signal };
  const ranks = checkLoadOptions(model, { ...worker, head, headThreshold, kv, tensorParallel, shares: given });
  const manifest = await openModel(model, { python });
  const description = describeModel(manifest);
  const { context } = description;
  const { window = Math.min(DEFAULT_WINDOW, context) } = options;
  if (!Number.isSafeInteger(window) || window < 2 || window > context)
    throw badArgument(`window is ${window}; this model takes 2 to ${context} tokens`);
  const all = Tokenizer.from(manifest).encode(text, { addSpecialTokens: false });
  const tokens = all.slice(0, options.tokens ?? all.length);
  if (tokens.length < 2) throw badArgument(`${tokens.length} tokens of text; at least 2 are needed`);
  const chunks = cutWindows(tokens.length, window, CHUNK);
  const pool = await Pool.start({ ...worker, count: ranks });
  const residence = new Residence(pool, pool.devices, manifest, model);
  const shares = given ?? equalShares(ranks);
  const dispose = async () => {
    await pool.dispose();
    await residence.left();
  };
  return { manifest, description, window, tokens, chunks, residence, shares, [Symbol.asyncDispose]: dispose };
}

/** For the load of a program's weights. */
export function loadingOf({ signal, onProgress }: TextOptions): DefineOptions {
  return { signal, onProgress: (done, total) => onProgress?.({ stage: "weights", done, total }) };
}

/** One chunk after the other. */
export async function eachChunk(
  { chunks }: OpenedText,
  { signal, onProgress }: TextOptions,
  run: (chunk: Chunk) => Promise<unknown>,
): Promise<void> {
  const total = chunks.length;
  for (const [done, chunk] of chunks.entries()) {
    signal?.throwIfAborted();
    onProgress?.({ stage: "windows", done, total });
    await run(chunk);
  }
  onProgress?.({ stage: "windows", done: total, total });
}

/** Sizes (but the drawn rows) and arrays of a chunk's step. The KV pages from `firstPage` on hold the chunks before it. */
export function chunkInputs({ from, to, start }: Chunk, tokens: readonly number[], firstPage = 0) {
  const T = to - from;
  const length = to - start;
  const sizes: Sizes = { ...NO_SIZES, T, B: 1, J: Math.ceil(length / PAGE_SIZE) };
  const ascending = (count: number, first: number) => Int32Array.from({ length: count }, (_, i) => first + i);
  const arrays = {
    tokens: Int32Array.from(tokens.slice(from, to)),
    positions: ascending(T, from - start),
    slots: ascending(T, firstPage * PAGE_SIZE + from - start),
    pages: ascending(sizes.J, firstPage),
    lengths: Int32Array.of(length),
    starts: Int32Array.of(0, T),
  };
  return { sizes, arrays };
}

/**
 * `programs`: of each run its ranks'. Throws `OCTAVO_PLAN_DOES_NOT_FIT` before anything is allocated. `keeps`: who keeps what;
 * `instead`: what to do.
 */
export function assertRoom(
  { devices }: Residence,
  programs: readonly (readonly Program[])[],
  limits: Sizes,
  keeps: string,
  instead: (missing: string) => string,
): void {
  const memories = new Map<string, { readonly names: string[]; bytes: number; available: number }>();
  for (const [rank, { name, description }] of devices.entries()) {
    const key = isHostMemory(description.backend) ? "machine" : name; // Which such workers have together.
    const memory = memories.get(key) ?? { names: [], bytes: 0, available: Number.POSITIVE_INFINITY };
    const ofRank = programs.map((run) => run[rank]!);
    memory.names.push(name);
    memory.bytes += residentBytes(ofRank, limits, description);
    memory.available = Math.min(memory.available, description.memoryAvailable);
    memories.set(key, memory);
  }
  for (const { names, bytes, available } of memories.values()) {
    if (bytes <= available) continue;
    const has = names.length === 1 ? "has" : "have";
    const text = `${keeps}: ${formatBytes(bytes)}; ${names.join(", ")} ${has} ${formatBytes(available)} available`;
    throw new OctavoError("OCTAVO_PLAN_DOES_NOT_FIT", `${text}. ${instead(formatBytes(bytes - available))}`);
  }
}
