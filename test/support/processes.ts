/** Processes as tests see them. */
import { setTimeout } from "node:timers/promises";

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Milliseconds until none of them runs; gives up, with an error, after `limitMs`. */
export async function waitForEnd(pids: readonly number[], limitMs: number): Promise<number> {
  const start = performance.now();
  while (pids.some(isRunning)) {
    if (performance.now() - start > limitMs) throw new Error(`${pids.filter(isRunning)} still run after ${limitMs} ms`);
    await setTimeout(20);
  }
  return performance.now() - start;
}
