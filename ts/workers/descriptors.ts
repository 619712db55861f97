/**
 * Free file descriptors, counted before they are needed: zeromq ends the whole process (SIGABRT) when one of its sockets gets
 * none, also later, when a worker connects.
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import { devNull } from "node:os";
import { codeOf, OctavoError } from "../errors.ts";

/** zeromq's threads and its socket, and shared memory: 6 of them, measured. */
const POOL = 8;
/** Pipes while the process starts, the socket it connects to, its connection: 8 at once, measured. */
const WORKER = 16;

/** Throws `OCTAVO_WORKER_START_FAILED` unless this process may open what a pool and so many workers need. */
export function checkDescriptors(what: string, { pool = false, workers }: { pool?: boolean; workers: number }): void {
  const needed = (pool ? POOL : 0) + workers * WORKER;
  const free = countFree(needed);
  if (free >= needed) return;
  const limit = softLimit();
  const text =
    `${what} takes up to ${needed} file descriptors, and this process can open ${free} more` +
    `${limit === undefined ? "" : ` (its limit is ${limit})`}; close what is not needed, or raise the limit: ` +
    "ulimit -n 4096 in the shell, LimitNOFILE in systemd, --ulimit nofile=4096:4096 in Docker";
  throw new OctavoError("OCTAVO_WORKER_START_FAILED", text, { retryable: true });
}

/** At most `wanted`. By opening them: what is in use, and for which limit, is not told on every system. */
function countFree(wanted: number): number {
  const opened: number[] = [];
  try {
    while (opened.length < wanted) opened.push(openSync(devNull, "r"));
  } catch (error) {
    // Without /dev/null nothing can be said.
    if (!["EMFILE", "ENFILE"].includes(codeOf(error) ?? "")) return wanted;
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
  return opened.length;
}

/** Undefined where it is not told, or when there is no descriptor to read it. */
function softLimit(): string | undefined {
  try {
    return /^Max open files +(\w+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  } catch {
    return undefined;
  }
}
