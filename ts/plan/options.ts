/** What a caller may ask of a plan, checked before anything is opened. Pure. */
import { z } from "zod";
import { checkModelName, checkOptions, type Rules } from "../arguments.ts";
import { checkParallel } from "./devices.ts";
import { checkThresholds, SETTINGS_RULES, type SettingsOptions } from "./settings.ts";

export interface PlanModelOptions extends SettingsOptions {
  /** A size ("24GiB") or a name ("cpu:0", "cuda:0"; "auto" by default). This version runs a model on one device. */
  readonly devices?: string | readonly string[] | undefined;
  /** Bytes that the worker takes of the device before any handle, when they are known. */
  readonly baseline?: number | undefined;
  readonly tensorParallel?: number | undefined;
  readonly pipelineParallel?: number | undefined;
}

const parallel = [z.int().min(1).max(1024), "a whole number; this version runs a model on one device, so 1"] as const;

const RULES: Rules<PlanModelOptions> = {
  ...SETTINGS_RULES,
  baseline: [z.int().min(0), "a number of bytes"],
  devices: [z.union([z.string(), z.array(z.string())]), 'a size such as "24GiB", a device such as "cpu:0", or "auto"'],
  tensorParallel: parallel,
  pipelineParallel: parallel,
};

/** Throws `OCTAVO_BAD_ARGUMENT`. */
export function checkPlanOptions(model: unknown, options: PlanModelOptions): void {
  checkModelName(model, 'planModel("model-folder", { devices: "24GiB" })');
  checkOptions(options, RULES);
  checkThresholds(options);
  const { tensorParallel, pipelineParallel } = options;
  checkParallel({ tensorParallel, pipelineParallel });
}
