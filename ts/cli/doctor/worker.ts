/** A real worker, from start to goodbye: what it reports is what a model would run on. */
import { formatBytes } from "../../bytes.ts";
import { describeError } from "../describe-error.ts";
import type { Check } from "./check.ts";

export async function checkWorker(device: string, python: string, signal: AbortSignal): Promise<Check> {
  const { Pool } = await import("../../pool.ts");
  // What everybody needs is a worker on the CPU.
  const check = device === "cpu:0" ? { name: "worker", needed: true } : { name: `${device} worker`, needed: false };
  const start = performance.now();
  try {
    const pool = await Pool.start({ devices: device, python, signal });
    const found = pool.devices[0]!.description;
    await pool.dispose();
    const detail =
      `${device} on ${found.model}, ${found.threads} threads, ${found.isa} of ${found.isas.join(", ")}, ` +
      `${formatBytes(found.memoryAvailable)} of ${formatBytes(found.memoryTotal)} free, ` +
      `started in ${((performance.now() - start) / 1000).toFixed(1)} s`;
    return { ...check, ok: true, detail };
  } catch (error) {
    signal.throwIfAborted();
    return { ...check, ok: false, detail: describeError(error) };
  }
}
