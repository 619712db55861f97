/** A plan for devices of a pool, on which others may live already. */
import { OctavoError } from "../errors.ts";
import type { Manifest } from "../model/source/manifest.ts";
import type { DeviceSize } from "../plan/devices.ts";
import { type ModelNeeds, plannedBytes } from "../plan/needs.ts";
import { planManifest } from "../plan/plan.ts";
import type { SettingsOptions } from "../plan/settings.ts";
import type { Plan } from "../plan/types.ts";
import type { Device } from "../tensor/device.ts";

/**
 * One device per rank. What fits is in the devices' ledgers under `owner` when this returns, so that nobody else counts on it;
 * nothing is allocated. Throws `OCTAVO_PLAN_DOES_NOT_FIT`, and what a lost worker's requests throw.
 */
export async function planOn(
  devices: readonly Device[],
  owner: string,
  manifest: Manifest,
  options: SettingsOptions,
  needs: ModelNeeds,
): Promise<Plan> {
  const sizes = await Promise.all(devices.map((device) => sizeOf(device, options.memoryLimit)));
  // Nothing is awaited from here to the ledger: of two loads at once, the later one sees what the earlier one was promised.
  const rooms = sizes.map((size, rank) => ({ ...size, held: devices[rank]!.ledger.promised }));
  const plan = planManifest(manifest, options, rooms, needs);
  if (!plan.fits) throw new OctavoError("OCTAVO_PLAN_DOES_NOT_FIT", plan.refusal ?? `${manifest.path} does not fit`);
  recordPlan(devices, owner, plan);
  return plan;
}

/** Tells the ledgers what `owner` is going to ask for. */
export function recordPlan(devices: readonly Device[], owner: string, { details }: Plan): void {
  for (const [rank, { ledger, description }] of devices.entries())
    ledger.plan(owner, plannedBytes(details.ranks[rank]!, details.pages, description));
}

/** With a `total` of all that the worker may use, what it has in use included. */
async function sizeOf(device: Device, memoryLimit: number | undefined): Promise<DeviceSize> {
  const { memoryTotal, baseline, backend, threads } = device.description;
  // A limit that the caller gives stands for what is available: only he knows what will be free by then.
  const usable = memoryLimit ?? baseline + (await touched(device)) + (await device.memoryAvailable());
  return { name: device.name, backend, threads, baseline, total: Math.min(memoryTotal, usable) };
}

/**
 * Bytes of handles that the system no longer counts as available: on a CPU a page is taken when it is first written to. Asked
 * before what is available, so that a load that goes on meanwhile makes the sum too small rather than too large.
 */
async function touched(device: Device): Promise<number> {
  if (device.ledger.entries().length === 0) return 0;
  return (await device.stats()).handleResident;
}
