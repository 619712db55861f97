/** Runs a peer and watches how much memory its whole process tree holds. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

const SAMPLE_MS = 50;

export interface Run {
  output: string;
  /** Most resident bytes of the process and its descendants together, sampled. Pages shared by two of them count twice. */
  peakBytes: number;
}

/** Rejects with the end of stderr if the command fails. */
export function run(command: string, args: string[], options: { cwd: string; env?: NodeJS.ProcessEnv }): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let errors = "";
    let peakBytes = 0;
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => (errors = (errors + data).slice(-4000)));
    const sampler = setInterval(() => {
      if (child.pid) peakBytes = Math.max(peakBytes, treeBytes(child.pid));
    }, SAMPLE_MS);
    child.on("error", (error) => {
      clearInterval(sampler);
      reject(error);
    });
    child.on("close", (code) => {
      clearInterval(sampler);
      if (code === 0) resolve({ output, peakBytes });
      else reject(new Error(`${command} ${args[0]} ended with ${code}:\n${errors}`));
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
