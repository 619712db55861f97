/** The options of `Pool.start`, and their check for callers without types. */
import { z } from "zod";
import { MAX_RANKS } from "../protocol/messages.ts";
import { checkOptions, type Rules } from "./arguments.ts";
import { badArgument } from "./errors.ts";
import { quoted } from "./quoted.ts";
import type { Warn } from "./warnings.ts";
import { checkLauncher, type LauncherOptions } from "./workers/launchers/index.ts";

export interface PoolOptions {
  /**
   * "cpu:0", "cuda:0", "cpu:0,cpu:1", or a list: one worker each. "auto" (default): what OCTAVO_DEVICE says, else cuda:0 where
   * there is an NVIDIA GPU that can be used (with a warning when only torch or triton is missing for it), else cpu:0.
   */
  readonly devices?: string | readonly string[] | undefined;
  /** How many devices "auto" stands for: cuda:0, cuda:1, ... or cpu:0, cpu:1, ... Default 1. */
  readonly count?: number | undefined;
  /**
   * Who starts the workers. By default this process, on this machine (`{ type: "local" }`). `{ type: "env", listen, keys }`:
   * somebody else (torchrun, srun, kubernetes, a shell on another machine), and they dial in: docs/launchers.md. `devices` are
   * then named one by one, and `threads`, `python` and `onLog` are the business of whoever starts them.
   */
  readonly launcher?: LauncherOptions | undefined;
  /**
   * What `device.call` may run: Python modules ("my_ops": its own public functions) or single functions ("my_ops:rotate").
   * Workers import them when they start; one that is missing fails `Pool.start`.
   */
  readonly ops?: readonly string[] | undefined;
  /** Threads of all workers together; by default the CPUs that this process may use, and never more (with a warning). */
  readonly threads?: number | undefined;
  /** Python interpreter; by default OCTAVO_PYTHON, then the package's own `.venv`, then `python3`. */
  readonly python?: string | undefined;
  /** Aborting it while workers start ends them; afterwards it has no effect. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PoolProgress) => void) | undefined;
  /** Lines that a worker writes to stdout or stderr. */
  readonly onLog?: ((device: string, line: string) => void) | undefined;
  /** What is not as asked for although the pool starts. By default `process.emitWarning`. */
  readonly onWarning?: Warn | undefined;
  /**
   * Milliseconds from the start of a worker process to its hello, or that one is waited for which somebody else starts. Default
   * 300,000: the first worker on a machine may have to compile the CPU kernels.
   */
  readonly startDeadlineMs?: number | undefined;
  /**
   * Milliseconds that a step may take before its worker counts as hung and is stopped (`OCTAVO_STEP_TIMEOUT`). By default
   * ten seconds and more, by what the step has to compute, at a speed that the device reaches on its worst day.
   */
  readonly stepDeadlineMs?: number | undefined;
  /** Milliseconds that workers have to finish when the pool is disposed. Default 5,000. */
  readonly stopDeadlineMs?: number | undefined;
}

export interface PoolProgress {
  /** `workers`: that are ready. `kernels`: files of the CPU kernels that are compiled, on the first start on a machine. */
  readonly stage: "workers" | "kernels";
  readonly done: number;
  readonly total: number;
}

const milliseconds = z
  .number()
  .gt(0)
  .max(2 ** 31 - 1);

const RULES: Rules<PoolOptions> = {
  devices: [z.union([z.string(), z.array(z.string())]), 'a device such as "cpu:0", a list of them, or "auto"'],
  launcher: [z.custom(() => true), "a launcher"], // By checkLauncher.
  count: [z.int().min(1).max(MAX_RANKS), `a whole number from 1 to ${MAX_RANKS}`],
  ops: [z.array(z.string()), 'a list of Python modules or functions, such as ["my_ops", "other:rotate"]'],
  threads: [z.int().min(1).max(1024), "a whole number from 1 to 1024"],
  python: [z.string().min(1), "the path of a Python interpreter"],
  signal: [z.instanceof(AbortSignal), "an AbortSignal"],
  onProgress: [z.function(), "a function"],
  onLog: [z.function(), "a function"],
  onWarning: [z.function(), "a function"],
  startDeadlineMs: [milliseconds, "milliseconds, a number above 0"],
  stepDeadlineMs: [milliseconds, "milliseconds, a number above 0"],
  stopDeadlineMs: [milliseconds, "milliseconds, a number above 0"],
};

/** Throws `OCTAVO_BAD_ARGUMENT` for an option that is unknown or has a value that it does not take. */
export function checkPoolOptions(options: PoolOptions): void {
  checkOptions(options, RULES, "Pool.start");
  for (const name of options.ops ?? []) checkFunction(name);
  if (options.launcher !== undefined) checkLauncher(options.launcher);
  if (options.launcher?.type === "env") checkForEnv(options);
}

/** What this process cannot decide for workers that it does not start. */
function checkForEnv(options: PoolOptions): void {
  const { devices = "auto" } = options;
  if (
    String(devices)
      .split(",")
      .some((name) => name.trim() === "auto")
  )
    throw badArgument(
      'Pool.start: devices is "auto", which is one of this machine; name those that dial in: "cuda:0,cuda:1"',
    );
  for (const [name, instead] of [
    ["threads", "octavo-worker --threads"],
    ["python", "the Python that runs octavo-worker"],
    ["onLog", "the output of octavo-worker"],
  ] as const) {
    if (options[name] === undefined) continue;
    throw badArgument(
      `Pool.start: ${name} is for workers that this process starts; with the launcher env it is ${instead}`,
    );
  }
}

function checkFunction(name: string): void {
  if (/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?$/.test(name) && name.length <= 256) return;
  throw badArgument(`${quoted(name)} in ops is not a Python module or function; write "my_ops" or "my_ops:rotate"`);
}
