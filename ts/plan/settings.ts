/** What a model is built and run with: the caller's options where given, the defaults elsewhere. The one place of both. Pure. */
import { z } from "zod";
import type { Sizes } from "../../protocol/messages.ts";
import { KV_LEVELS, PAGE_SIZE } from "../../protocol/ops.ts";
import type { Rules } from "../arguments.ts";
import { badArgument } from "../errors.ts";
import { type Head, headForm, type KvType, type ModelDescription, type ModelOptions } from "../model/families/index.ts";
import {
  DEFAULT_HEAD_THRESHOLD,
  DEFAULT_THRESHOLD,
  type Threshold,
  thresholdAttributes,
} from "../program/threshold.ts";

/** The options that `planModel` and `Engine.load` share. */
export interface SettingsOptions {
  /** "int8" (default): LLM.int8(). "16bit": as in the files. */
  readonly weights?: "int8" | "16bit" | undefined;
  /**
   * The output layer. "auto" (default): int8 with its own threshold, or 16-bit with `weights: "16bit"`. "16bit": as in the paper.
   * With tied embeddings an int8 one is a copy beside them: half of their bytes more.
   */
  readonly head?: Head | undefined;
  /**
   * Integers that K and V are kept in: "int16" (default), or "int8", half the memory and less exact (docs/numerics.md). Each row of
   * a head has a step of its own, so that neither has a range to leave.
   */
  readonly kv?: KvType | undefined;
  /** Which activations are outliers. Default "adaptive". */
  readonly threshold?: Threshold | undefined;
  /** Which activations are outliers for an int8 output layer. Default "all". */
  readonly headThreshold?: Threshold | undefined;
  /** Tokens that prompt and answer of one request may have together. By default the model's, at most 4,096. */
  readonly context?: number | undefined;
  /** Requests that run at the same time; others wait. Default 8. */
  readonly sequences?: number | undefined;
  /** Tokens of a step: prompts are cut into chunks of at most this many. Default 512. */
  readonly tokenBudget?: number | undefined;
  /**
   * Bytes that may be used of a device, at most what it has; on a pool, other models' on the same worker are among them. By default
   * what is available there: memory that nobody uses and what the system would give up at once (its cache of files).
   */
  readonly memoryLimit?: number | undefined;
}

export interface Settings {
  /** How the model's programs are built; how many KV pages there are is up to the devices. */
  readonly modelOptions: Omit<ModelOptions, "pages">;
  /** Most of everything in one step. */
  readonly limits: Sizes;
  readonly context: number;
  readonly sequences: number;
  readonly tokenBudget: number;
}

/** How a model is built where nobody says otherwise. */
export const MODEL_DEFAULTS = {
  weights: "int8",
  head: "auto",
  threshold: DEFAULT_THRESHOLD,
  headThreshold: DEFAULT_HEAD_THRESHOLD,
  kv: "int16",
  output: { type: "sample" },
} as const satisfies Partial<ModelOptions>;

export const KV_TYPES = Object.keys(KV_LEVELS) as KvType[];
/** For whoever asks for what KV pages were once. */
export const KV_INSTEAD = "pages hold integers with a step for each row: int16 in place of float16 and of bfloat16";

const DEFAULT_CONTEXT = 4096;
const DEFAULT_SEQUENCES = 8;
const DEFAULT_TOKEN_BUDGET = 512;
/** Entries of one request's `logitBias`. */
const BIASES = 1024;
/** Of the rope tables, 1 GiB of them: 2 million positions of heads of 128 elements. */
const MAX_ROPE_ELEMENTS = 2 ** 28;

const count = (max: number) => z.int().min(1).max(max);

/** Both thresholds have a check of their own: `checkThresholds`. */
export const SETTINGS_RULES: Rules<SettingsOptions> = {
  weights: [z.enum(["int8", "16bit"]), '"int8" or "16bit"'],
  head: [z.enum(["auto", "int8", "16bit"]), '"auto", "int8" or "16bit"'],
  kv: [z.enum(KV_TYPES), `"${KV_TYPES.join('" or "')}"; ${KV_INSTEAD}`],
  threshold: [z.unknown(), ""],
  headThreshold: [z.unknown(), ""],
  context: [count(2 ** 24), `a whole number from 1 to ${2 ** 24}`],
  sequences: [count(4096), "a whole number from 1 to 4096"],
  tokenBudget: [count(65_536), "a whole number from 1 to 65536"],
  memoryLimit: [count(Number.MAX_SAFE_INTEGER), "a number of bytes"],
};

/** Throws `OCTAVO_BAD_ARGUMENT`. */
export function checkThresholds(options: Pick<SettingsOptions, "threshold" | "headThreshold">): void {
  for (const name of ["threshold", "headThreshold"] as const)
    if (options[name] !== undefined) thresholdAttributes(options[name], name);
}

/** Of options that were checked. Throws `OCTAVO_BAD_ARGUMENT` for a context that the model does not have. */
export function resolveSettings(
  model: Pick<ModelDescription, "context" | "headDim">,
  options: SettingsOptions,
): Settings {
  const { sequences = DEFAULT_SEQUENCES, tokenBudget = DEFAULT_TOKEN_BUDGET } = options;
  const { context = Math.min(model.context, DEFAULT_CONTEXT) } = options;
  checkContext(context, model);
  const { head, threshold, headThreshold, kv, output } = MODEL_DEFAULTS;
  const { weights = MODEL_DEFAULTS.weights } = options;
  return Object.freeze({
    modelOptions: Object.freeze({
      weights,
      head: headForm({ weights, head: options.head ?? head }),
      threshold: options.threshold ?? threshold,
      headThreshold: options.headThreshold ?? headThreshold,
      kv: options.kv ?? kv,
      context,
      rows: sequences,
      output,
    }),
    limits: Object.freeze({
      T: Math.max(tokenBudget, sequences),
      S: sequences,
      B: sequences,
      J: Math.ceil(context / PAGE_SIZE),
      H: sequences * context,
      D: sequences * BIASES,
      Q: sequences,
    }),
    ...{ context, sequences, tokenBudget },
  });
}

function checkContext(context: number, model: Pick<ModelDescription, "context" | "headDim">): void {
  if (context > model.context) throw badArgument(`context ${context}; the model was trained for ${model.context}`);
  const positions = Math.floor(MAX_ROPE_ELEMENTS / model.headDim);
  if (context <= positions) return;
  throw badArgument(`context ${context}; with heads of ${model.headDim} elements it goes up to ${positions}`);
}
