/** What a model takes on devices, from headers alone; or why it does not fit, and the smallest change that would. Pure. */
import type { Manifest } from "../model/source/manifest.ts";
import type { DeviceSize } from "./devices.ts";
import { type ModelNeeds, needsOf } from "./needs.ts";
import { MARGIN, place } from "./place.ts";
import { explainRefusal } from "./refusal.ts";
import type { SettingsOptions } from "./settings.ts";
import type { Plan } from "./types.ts";

/** One device per rank. Throws what `needsOf` throws. */
export function planManifest(
  manifest: Manifest,
  options: SettingsOptions,
  devices: readonly DeviceSize[],
  needs: ModelNeeds = needsOf(manifest, options),
): Plan {
  const plan = place(needs, devices);
  if (plan.fits) return plan;
  const retry = (other: SettingsOptions) => place(needsOf(manifest, other), devices);
  return { ...plan, refusal: explainRefusal(plan, options, MARGIN, retry) };
}
