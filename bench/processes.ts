/** Runs a command and watches how much memory its whole process tree holds. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

/** Reading /proc takes some of a core from what is measured. */
const SAMPLE_MS = 200;
const ERROR_LINES = 4000;

export interface Run {
  output: string;
  /** Most resident bytes of the process and its descendants together, sampled. Pages shared by two of them count twice. */
  peakBytes: number;
}

export interface RunOptions {
  readonly cwd: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** A line of stdout, and the milliseconds since the start. */
  readonly onLine?: (line: string, ms: number) => void;
  /** Without a line on stdout for so long the command is ended. */
  readonly silenceMs?: number;
}

/**
 * Rejects with the end of stderr if the command fails, and with the signal's reason after an abort; then all processes of the
 * command have been ended.
 */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<Run> {
  const { cwd, env, signal, onLine, silenceMs } = options;
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const began = performance.now();
    // A group of its own: it is ended whole, and by this program only.
    const child = spawn(command, args, {
      ...{ cwd, env: { ...process.env, ...env }, detached: true },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const output: string[] = [];
    let errors = "";
    let peakBytes = 0;
    let silent: NodeJS.Timeout | undefined;
    let reason: unknown;
    const end = (why: unknown) => {
      reason ??= why;
      try {
        if (child.pid) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    };
    const aborted = () => end(signal?.reason);
    const heard = () => {
      clearTimeout(silent);
      if (silenceMs) silent = setTimeout(() => end(new Error(`no line for ${silenceMs / 1000} s: ended`)), silenceMs);
    };
    heard();
    signal?.addEventListener("abort", aborted, { once: true });
    createInterface({ input: child.stdout }).on("line", (line) => {
      heard();
      output.push(line);
      onLine?.(line, performance.now() - began);
    });
    child.stderr.on("data", (data) => (errors = (errors + data).slice(-ERROR_LINES)));
    const sampler = setInterval(() => {
      if (child.pid) peakBytes = Math.max(peakBytes, treeBytes(child.pid));
    }, SAMPLE_MS);
    const finish = () => {
      clearInterval(sampler);
      clearTimeout(silent);
      signal?.removeEventListener("abort", aborted);
    };
    child.on("error", (error) => {
      finish();
      reject(error);
    });
    child.on("close", (code, killedBy) => {
      finish();
      if (reason === undefined && code === 0) resolve({ output: output.join("\n"), peakBytes });
      else reject(reason ?? new Error(`${command} ${args[0]} ended with ${code ?? killedBy}:\n${errors}`));
    });
  });
}

function treeBytes(root: number): number {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    const parent = /^\d+$/.test(entry) ? parentOf(entry) : undefined;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
  }
  let bytes = 0;
  const open = [root];
  for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
    bytes += residentBytes(pid);
    open.push(...(children.get(pid) ?? []));
  }
  return bytes;
}

// A process may end between listing and reading it.
function parentOf(pid: string): number | undefined {
  try {
    // "pid (name) state parent": the name may hold spaces and parentheses.
    return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1]);
  } catch {
    return undefined;
  }
}

function residentBytes(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}
