/** Why a plan does not fit, in numbers, and the smallest changes of options that would. Pure. */
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { formatBytes } from "../bytes.ts";
import type { SettingsOptions } from "./settings.ts";
import type { DevicePlan, Plan } from "./types.ts";

type Retry = (options: SettingsOptions) => Plan;

/** Fewest rows of a step worth proposing: below, prefill is no faster than decoding. */
const SMALLEST_BUDGET = 64;

/** `plan` does not fit. `retry` plans with other options; `margin` is the share of a device that plans leave free. */
export function explainRefusal(plan: Plan, options: SettingsOptions, margin: number, retry: Retry): string {
  const device = plan.devices.reduce((worst, other) => (other.free < worst.free ? other : worst));
  const missing = missingBytes(device, margin);
  const changes = [
    head(plan, options, retry),
    budget(plan, options, retry),
    shorter(plan, options, retry),
    `with ${formatBytes(missing)} (${missing} bytes) more`,
  ].filter((change) => change !== undefined);
  return (
    `${device.name}: ${formatBytes(device.weights)} of weights, ${formatBytes(device.activations)} of activations, ` +
    `${formatBytes(device.context)} for the worker, ${formatBytes(device.margin)} of margin and ` +
    `${formatBytes(device.kv)} of KV for one sequence of ${plan.details.settings.context} tokens are ` +
    `${formatBytes(-device.free)} more than its ${formatBytes(device.total)}. It fits ${changes.join(", or ")}.`
  );
}

/** How much larger the device must be: the margin grows with it. */
function missingBytes({ total, weights, activations, context, kv }: DevicePlan, margin: number): number {
  const needed = weights + activations + context + kv;
  let required = Math.ceil(needed / (1 - margin));
  while (required - Math.ceil(required * margin) < needed) required++;
  return required - total;
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
