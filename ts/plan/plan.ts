/** What a model takes on devices, from headers alone; or why it does not fit, and the smallest change that would. Pure. */
import type { Manifest } from "../model/source/manifest.ts";
import type { DeviceSize } from "./devices.ts";
import { type ModelNeeds, needsOf } from "./needs.ts";
import type { PlanOptions } from "./options.ts";
import { sharesOf } from "./parallel.ts";
import { place } from "./place.ts";
import { explainRefusal } from "./refusal.ts";
import type { SettingsOptions } from "./settings.ts";
import type { Plan } from "./types.ts";

/** One device per rank. `known`: needs that may be those of the shares that come out. Throws what `needsOf` throws. */
export function planManifest(
  manifest: Manifest,
  options: PlanOptions,
  devices: readonly DeviceSize[],
  known?: ModelNeeds,
): Plan {
  const stages = options.pipelineParallel ?? 1;
  const needs = (other: SettingsOptions, on: readonly DeviceSize[]) =>
    needsOf(manifest, other, options.shares ?? sharesOf(on), stages);
  const shares = options.shares ?? sharesOf(devices);
  const isKnown = known?.stages === stages && String(known.shares) === String(shares);
  const plan = place(isKnown ? known : needs(options, devices), devices);
  if (plan.fits) return plan;
  const retry = (other: SettingsOptions, on = devices) => place(needs(other, on), on);
  return { ...plan, refusal: explainRefusal(plan, options, devices, retry) };
}
