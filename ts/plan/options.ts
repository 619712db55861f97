/** What a caller may ask of a plan, checked before anything is opened. Pure. */
import { z } from "zod";
import { checkModelName, checkOptions, type Rules } from "../arguments.ts";
import { isAuto, isDeviceNames, parseDeviceNames, parseDeviceSizes } from "./devices.ts";
import { PARALLEL_RULES, type ParallelOptions, ranksOf } from "./parallel.ts";
import { checkThresholds, SETTINGS_RULES, type SettingsOptions } from "./settings.ts";

/** What a plan depends on beside the devices. */
export type PlanOptions = SettingsOptions & Pick<ParallelOptions, "shares" | "pipelineParallel">;

export interface PlanModelOptions extends SettingsOptions, ParallelOptions {
  /** Sizes ("24GiB", "8x24GiB", "24GiB,12GiB") or names ("cpu:0", "cuda:0,cuda:1"; "auto" by default): a rank on each. */
  readonly devices?: string | readonly string[] | undefined;
  /** Bytes that the worker takes of the device before any handle, when they are known. */
  readonly baseline?: number | undefined;
}

const RULES: Rules<PlanModelOptions> = {
  ...SETTINGS_RULES,
  ...PARALLEL_RULES,
  baseline: [z.int().min(0), "a number of bytes"],
  devices: [
    z.union([z.string(), z.array(z.string())]),
    'sizes such as "24GiB" or "8x24GiB", devices such as "cpu:0", or "auto"',
  ],
};

/** Gives the number of ranks. Throws `OCTAVO_BAD_ARGUMENT`. */
export function checkPlanOptions(model: unknown, options: PlanModelOptions): number {
  checkModelName(model, 'planModel("model-folder", { devices: "24GiB" })');
  checkOptions(options, RULES);
  checkThresholds(options);
  const { devices = "auto" } = options;
  if (isAuto(devices)) return ranksOf(undefined, options);
  const text = String(devices);
  return ranksOf((isDeviceNames(text) ? parseDeviceNames(devices) : parseDeviceSizes(text)).length, options);
}
