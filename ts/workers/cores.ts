/** How many CPUs this process may really use: affinity and the container's quota, not what the machine has. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** CPUs of a cgroup v2 `cpu.max` ("150000 100000" is 1.5); undefined without a limit. */
export function quotaOf(cpuMax: string): number | undefined {
  const [quota, period] = cpuMax.trim().split(/\s+/).map(Number);
  return quota !== undefined && period !== undefined && quota > 0 && period > 0 ? quota / period : undefined;
}

export function usableCores(): number {
  return Math.max(1, Math.min(availableParallelism(), Math.round(quota() ?? Number.POSITIVE_INFINITY)));
}

/** Threads of each of `workers` workers that share `cores`; the first ones get the remainder. */
export function shareCores(cores: number, workers: number): number[] {
  return Array.from({ length: workers }, (_, i) =>
    Math.max(1, Math.floor(cores / workers) + (i < cores % workers ? 1 : 0)),
  );
}

function quota(): number | undefined {
  const v2 = read("/sys/fs/cgroup/cpu.max");
  if (v2 !== undefined) return quotaOf(v2);
  const v1 = `${read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")} ${read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")}`;
  return quotaOf(v1);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}
