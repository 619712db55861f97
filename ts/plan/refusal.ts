/** Why a plan does not fit, in numbers, and the smallest changes of options or devices that would. Pure. */
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { formatBytes } from "../bytes.ts";
import { codeOf } from "../errors.ts";
import type { DeviceSize } from "./devices.ts";
import { MARGIN } from "./margin.ts";
import type { PlanOptions } from "./options.ts";
import type { SettingsOptions } from "./settings.ts";
import type { DevicePlan, Plan } from "./types.ts";

type Retry = (options: SettingsOptions, devices?: readonly DeviceSize[]) => Plan;

/** Fewest rows of a step worth proposing: below, prefill is no faster than decoding. */
const SMALLEST_BUDGET = 64;
/** Most devices worth proposing, and how many numbers of them are tried. */
const MOST_DEVICES = 64;
const TRIED_NUMBERS = 3;

/** `plan` of these devices does not fit. `retry` plans with other options, or on other devices. */
export function explainRefusal(plan: Plan, options: PlanOptions, devices: readonly DeviceSize[], retry: Retry): string {
  const worst = memoriesOf(plan, devices).reduce((least, other) => (other.free < least.free ? other : least));
  const changes = [
    head(plan, options, retry),
    budget(plan, options, retry),
    shorter(plan, options, retry),
    more(plan, options, devices, retry),
    larger(missingBytes(worst), options, devices, retry),
  ].filter((change) => change !== undefined);
  const instead = changes.length === 0 ? "" : ` It fits ${changes.join(", or ")}.`;
  const meeting = worst.collectives > 0 ? `${formatBytes(worst.collectives)} in which ranks meet, ` : "";
  return (
    `${worst.name}: ${formatBytes(worst.weights)} of weights, ${formatBytes(worst.activations)} of activations, ` +
    `${formatBytes(worst.context)} for the worker, ${meeting}${formatBytes(worst.margin)} of margin and ` +
    `${formatBytes(worst.kv)} of KV for one sequence of ${plan.details.settings.context} tokens are ` +
    `${formatBytes(-worst.free)} more than its ${formatBytes(worst.total)}.${instead}`
  );
}

/** Devices that share a memory as one: they lack it together. */
function memoriesOf({ devices: plans }: Plan, devices: readonly DeviceSize[]): DevicePlan[] {
  const memories = new Map<unknown, DevicePlan>();
  for (const [rank, plan] of plans.entries()) {
    const key = devices[rank]!.memory ?? rank;
    const others = memories.get(key);
    memories.set(key, others === undefined ? plan : together(others, plan));
  }
  return [...memories.values()];
}

function together(a: DevicePlan, b: DevicePlan): DevicePlan {
  const sum = (part: Exclude<keyof DevicePlan, "name">) => a[part] + b[part];
  return {
    name: `${a.name}, ${b.name}`,
    ...{ total: sum("total"), weights: sum("weights"), kv: sum("kv"), activations: sum("activations") },
    ...{ context: sum("context"), collectives: sum("collectives"), margin: sum("margin"), free: sum("free") },
  };
}

/** How much larger the device must be: the margin grows with it. */
function missingBytes({ total, weights, activations, context, collectives, kv }: DevicePlan): number {
  const needed = weights + activations + context + collectives + kv;
  let required = Math.ceil(needed / (1 - MARGIN));
  while (required - Math.ceil(required * MARGIN) < needed) required++;
  return required - total;
}

/** So much larger devices: exact for one, and for several where the shares stay the same, as they do for equal devices. */
function larger(
  missing: number,
  options: PlanOptions,
  devices: readonly DeviceSize[],
  retry: Retry,
): string | undefined {
  const memories = new Set(devices.map(({ memory, name }) => memory ?? name)).size;
  if (memories === 1) return `with ${formatBytes(missing)} (${missing} bytes) more`;
  for (let bytes = missing, tries = 0; tries < TRIED_NUMBERS; bytes = Math.ceil(1.25 * bytes), tries++) {
    const grown = devices.map((device) => ({ ...device, total: device.total + bytes }));
    if (retry(options, grown).fits) return `with ${formatBytes(bytes)} (${bytes} bytes) more on each device`;
  }
  return undefined;
}

/** The fewest devices like these that are enough; workers of one memory have no more of it when there are more of them. */
function more(plan: Plan, options: PlanOptions, devices: readonly DeviceSize[], retry: Retry): string | undefined {
  const [first] = devices;
  const { shares, pipelineParallel: stages = 1 } = options;
  if (first === undefined || shares !== undefined) return undefined;
  if (devices.some(({ total, memory, held = 0 }) => total !== first.total || memory !== undefined || held > 0))
    return undefined;
  // What is cut, over what is left of a device beside what is not.
  const shared = plan.devices.reduce((sum, { weights, kv }) => sum + weights + kv, 0);
  const { total, margin, context } = plan.devices[0]!;
  const room = total - margin - context;
  if (room <= 0) return undefined;
  const least = Math.max(devices.length + 1, Math.ceil(shared / room));
  for (let tries = 0; tries < TRIED_NUMBERS; tries++) {
    const count = (Math.ceil(least / stages) + tries) * stages;
    if (count > MOST_DEVICES) break;
    const like = Array.from({ length: count }, (_, rank) => ({ ...first, name: `${first.name} and ${rank} more` }));
    try {
      if (retry(options, like).fits) return `on ${count} devices of this size`;
    } catch (error) {
      if (codeOf(error) === "OCTAVO_BAD_ARGUMENT") return undefined; // Nothing is left to cut.
      throw error;
    }
  }
  return undefined;
}

/** An int8 head is smaller than one of its own with 16 bit, and more than none: tied embeddings are the other one. */
function head(plan: Plan, options: SettingsOptions, retry: Retry): string | undefined {
  const other = plan.details.settings.modelOptions.head === "int8" ? "16bit" : "int8";
  if (!retry({ ...options, head: other }).fits) return undefined;
  return other === "int8" ? "with an int8 head (head int8)" : "with the embedding as the head (head 16bit)";
}

/** The largest power of two of rows that fits. */
function budget(plan: Plan, options: SettingsOptions, retry: Retry): string | undefined {
  for (let rows = 2 ** Math.floor(Math.log2(plan.details.settings.tokenBudget - 1)); rows >= SMALLEST_BUDGET; rows /= 2)
    if (retry({ ...options, tokenBudget: rows }).fits) return `with steps of ${rows} rows (tokenBudget ${rows})`;
  return undefined;
}

/** The longest context that fits; a shorter one also shortens the rope tables, so it is searched, not calculated. */
function shorter(plan: Plan, options: SettingsOptions, retry: Retry): string | undefined {
  const fits = (pages: number) => retry({ ...options, context: pages * PAGE_SIZE }).fits;
  let low = 0;
  let high = Math.ceil(plan.details.settings.context / PAGE_SIZE);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low > 0 ? `with context ${low * PAGE_SIZE}` : undefined;
}
