/** Processes as tests see them. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { workerProgram } from "../../ts/python.ts";

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    // Ended, but nobody has asked for its exit code yet: an orphan's new parent may take its time.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return process.platform !== "linux";
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

/** Process ids of the workers that a process has started and that still run. Empty where there is no /proc. */
export function workersOf(parent: number): number[] {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && isRunning(pid) && isWorkerOf(pid, parent));
}

function isWorkerOf(pid: number, parent: number): boolean {
  try {
    const child = readFileSync(`/proc/${pid}/status`, "utf8").includes(`\nPPid:\t${parent}\n`);
    return child && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(workerProgram().join("\0"));
  } catch {
    return false; // It has just ended.
  }
}
