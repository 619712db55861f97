/** A plan for devices of a pool, on which others may live already. */
import { OctavoError } from "../errors.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { type DeviceSize, isHostMemory } from "../plan/devices.ts";
import { type ModelNeeds, plannedBytes } from "../plan/needs.ts";
import type { PlanOptions } from "../plan/options.ts";
import { planManifest } from "../plan/plan.ts";
import type { Plan } from "../plan/types.ts";
import type { Pool } from "../pool.ts";
import type { Device } from "../tensor/device.ts";

/**
 * One device of the pool per rank. What fits is in the devices' ledgers under `owner` when this returns, so that nobody else
 * counts on it; nothing is allocated. Throws `OCTAVO_PLAN_DOES_NOT_FIT`, and what a lost worker's requests throw.
 */
export async function planOn(
  pool: Pool,
  devices: readonly Device[],
  owner: string,
  manifest: Manifest,
  options: PlanOptions,
  needs: ModelNeeds,
): Promise<Plan> {
  const roomsNow = await measure(pool, devices, options.memoryLimit);
  // Nothing is awaited from here to the ledger: of two loads at once, the later one sees what the earlier one was promised.
  const plan = planManifest(manifest, options, roomsNow(), needs);
  if (!plan.fits) throw new OctavoError("OCTAVO_PLAN_DOES_NOT_FIT", plan.refusal ?? `${manifest.path} does not fit`);
  recordPlan(devices, owner, plan);
  return plan;
}

/** Tells the ledgers what `owner` is going to ask for. */
export function recordPlan(devices: readonly Device[], owner: string, { details }: Plan): void {
  for (const [rank, { ledger, description }] of devices.entries())
    ledger.plan(owner, plannedBytes(details.ranks[rank]!, details.pages, description));
}

/**
 * What the devices may use: all that is available, and what they have in use. Workers in the machine's memory have it together,
 * with all others of the pool there. A limit that the caller gives stands for what is available to each: only he knows what will
 * be free by then.
 */
async function measure(
  pool: Pool,
  devices: readonly Device[],
  memoryLimit: number | undefined,
): Promise<() => DeviceSize[]> {
  const isHost = ({ description }: Device) => memoryLimit === undefined && isHostMemory(description.backend);
  const hosts = pool.devices.filter((device) => isHost(device) && !device.lost.aborted);
  const others = hosts.filter((device) => !devices.includes(device));
  const theirs = Promise.all(others.map((device) => touched(device).catch(() => 0))); // Lost meanwhile, it has nothing.
  const inUse = await Promise.all(devices.map((device) => touched(device)));
  const atOthers = sum(await theirs);
  const available = await Promise.all(
    devices.map((device) => (memoryLimit === undefined ? device.memoryAvailable() : 0)),
  );
  const ranks = devices.map((device, rank) => ({ device, touched: inUse[rank]!, usable: available[rank]! }));
  const own = ranks.filter(({ device }) => isHost(device));
  const machine =
    Math.min(...own.map(({ usable }) => usable)) +
    sum(own.map(({ device, touched }) => device.description.baseline + touched)) +
    atOthers;
  return () =>
    ranks.map(({ device, touched, usable }) => {
      const { memoryTotal, baseline, backend, threads } = device.description;
      const size = { name: device.name, backend, threads, baseline };
      if (isHost(device)) {
        const held = sum(hosts.map(({ ledger }) => ledger.promised));
        return { ...size, total: Math.min(memoryTotal, machine), held, memory: "machine" };
      }
      const total = memoryLimit ?? baseline + touched + usable;
      return { ...size, total: Math.min(memoryTotal, total), held: device.ledger.promised };
    });
}

/**
 * Bytes of handles that the system no longer counts as available: on a CPU a page is taken when it is first written to. Asked
 * before what is available, so that a load that goes on meanwhile makes the sum too small rather than too large.
 */
async function touched(device: Device): Promise<number> {
  if (device.ledger.entries().length === 0) return 0;
  return (await device.stats()).handleResident;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
