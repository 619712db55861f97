/** A model that judges or inspects a text: its files and the text's tokens, then a worker with nothing on it yet. */
import type { Sizes } from "../../protocol/messages.ts";
import { formatBytes } from "../bytes.ts";
import { ResidentModel, residentBytes } from "../deploy/resident.ts";
import { checkLoadOptions, type LoadOptions } from "../engine/load-options.ts";
import { OctavoError } from "../errors.ts";
import { describeModel, type ModelDescription } from "../model/families/index.ts";
import { openModel } from "../model/source/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { Tokenizer } from "../model/tokenizer.ts";
import { Pool } from "../pool.ts";
import type { Program } from "../program/program.ts";
import { type Chunk, cutWindows } from "./windows.ts";

/** Tokens of a step: their logits, float32 over the whole vocabulary, are twice in memory. */
export const CHUNK = 128;
export const DEFAULT_WINDOW = 512;

export interface TextOptions extends Pick<LoadOptions, "devices" | "threads" | "head" | "python" | "signal"> {
  /** Tokens per window; windows do not overlap. Default 512. */
  readonly window?: number | undefined;
  /** Only the first so many tokens of the text. */
  readonly tokens?: number | undefined;
  readonly onProgress?:
    | ((progress: { readonly stage: "weights" | "windows"; readonly done: number; readonly total: number }) => void)
    | undefined;
}

export interface OpenedText {
  readonly manifest: Manifest;
  readonly description: ModelDescription;
  readonly window: number;
  readonly tokens: readonly number[];
  readonly chunks: readonly Chunk[];
}

/** Throws what `Engine.load` throws of options and models, and `OCTAVO_BAD_ARGUMENT` for a text of less than two tokens. */
export async function openText(model: string, text: string, options: TextOptions): Promise<OpenedText> {
  const { devices, threads, head, python, signal } = options;
  checkLoadOptions(model, { devices, threads, head, python, signal });
  const manifest = await openModel(model, { python });
  const description = describeModel(manifest);
  const { context } = description;
  const { window = Math.min(DEFAULT_WINDOW, context) } = options;
  if (!Number.isSafeInteger(window) || window < 2 || window > context)
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `window is ${window}; this model takes 2 to ${context} tokens`);
  const all = Tokenizer.from(manifest).encode(text, { addSpecialTokens: false });
  const tokens = all.slice(0, options.tokens ?? all.length);
  if (tokens.length < 2)
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `${tokens.length} tokens of text; at least 2 are needed`);
  return { manifest, description, window, tokens, chunks: cutWindows(tokens.length, window, CHUNK) };
}

/** The worker goes with the pool. Throws what `Pool.start` throws. */
export async function startFor(
  model: string,
  manifest: Manifest,
  { devices, threads, python, signal }: TextOptions,
): Promise<{ readonly pool: Pool; readonly resident: ResidentModel }> {
  const pool = await Pool.start({ devices, threads, python, signal });
  return { pool, resident: new ResidentModel(pool.devices[0]!, manifest, model) };
}

/** Throws `OCTAVO_PLAN_DOES_NOT_FIT` before anything is allocated. `keeps`: who keeps what; `instead`: what to do. */
export function assertRoom(
  { device: { name, description } }: ResidentModel,
  [programs, limits]: [programs: readonly Program[], limits: Sizes],
  keeps: string,
  instead: (missing: string) => string,
): void {
  const bytes = residentBytes(programs, limits, description);
  const { memoryAvailable } = description;
  if (bytes <= memoryAvailable) return;
  const text = `${keeps}: ${formatBytes(bytes)}; ${name} has ${formatBytes(memoryAvailable)} available`;
  throw new OctavoError("OCTAVO_PLAN_DOES_NOT_FIT", `${text}. ${instead(formatBytes(bytes - memoryAvailable))}`);
}
