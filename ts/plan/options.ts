/** What a caller may ask of a plan, checked before anything is opened. Pure. */
import { z } from "zod";
import { checkModelName, checkOptions, type Rules } from "../arguments.ts";
import { OctavoError } from "../errors.ts";
import { type Threshold, thresholdAttributes } from "../program/threshold.ts";

export interface PlanOptions {
  /** Bytes that may be used, instead of all of the device. */
  readonly memoryLimit?: number | undefined;
  /** Tokens that one sequence may reach. Default: the model's, at most 4,096. */
  readonly context?: number | undefined;
  /** Sequences that run at once. Default 8. */
  readonly sequences?: number | undefined;
  /** Rows of a step. Default 512. */
  readonly tokenBudget?: number | undefined;
  readonly weights?: "int8" | "16bit" | undefined;
  readonly head?: "16bit" | "int8" | undefined;
  readonly threshold?: Threshold | undefined;
  /** Bytes that the worker takes of the device before any handle, when they are known. */
  readonly baseline?: number | undefined;
}

export interface PlanModelOptions extends PlanOptions {
  /** A size ("24GiB") or a name ("cpu:0", "cuda:0"; "auto" by default). This version runs a model on one device. */
  readonly devices?: string | readonly string[] | undefined;
  readonly tensorParallel?: number | undefined;
  readonly pipelineParallel?: number | undefined;
}

const count = (max: number) => z.int().min(1).max(max);

/** Of the options that plans and engines share. `threshold` has a check of its own: `thresholdAttributes`. */
export const PLAN_RULES: Rules<Omit<PlanOptions, "baseline">> = {
  memoryLimit: [count(Number.MAX_SAFE_INTEGER), "a number of bytes"],
  context: [count(2 ** 24), `a whole number from 1 to ${2 ** 24}`],
  sequences: [count(4096), "a whole number from 1 to 4096"],
  tokenBudget: [count(65_536), "a whole number from 1 to 65536"],
  weights: [z.enum(["int8", "16bit"]), '"int8" or "16bit"'],
  head: [z.enum(["int8", "16bit"]), '"int8" or "16bit"'],
  threshold: [z.unknown(), ""],
};

const RULES: Rules<PlanModelOptions> = {
  ...PLAN_RULES,
  baseline: [z.int().min(0), "a number of bytes"],
  devices: [z.union([z.string(), z.array(z.string())]), 'a size such as "24GiB", a device such as "cpu:0", or "auto"'],
  tensorParallel: [count(1024), "a whole number; this version runs a model on one device, so 1"],
  pipelineParallel: [count(1024), "a whole number; this version runs a model on one device, so 1"],
};

/** Throws `OCTAVO_BAD_ARGUMENT`. */
export function checkPlanOptions(model: unknown, options: PlanModelOptions): void {
  checkModelName(model, 'planModel("model-folder", { devices: "24GiB" })');
  checkOptions(options, RULES);
  if (options.threshold !== undefined) thresholdAttributes(options.threshold);
  const { tensorParallel = 1, pipelineParallel = 1 } = options;
  if (tensorParallel === 1 && pipelineParallel === 1) return;
  const text =
    `tensorParallel ${tensorParallel}, pipelineParallel ${pipelineParallel}: this version runs a model on one device; ` +
    "leave both at 1";
  throw new OctavoError("OCTAVO_BAD_ARGUMENT", text);
}
