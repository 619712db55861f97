/** The options of `Pool.start`, and their check for callers without types. */
import { z } from "zod";
import { MAX_RANKS } from "../protocol/messages.ts";
import { checkOptions, type Rules } from "./arguments.ts";
import { badArgument } from "./errors.ts";
import { quoted } from "./quoted.ts";
import type { Warn } from "./warnings.ts";

export interface PoolOptions {
  /**
   * "cpu:0", "cuda:0", "cpu:0,cpu:1", or a list: one worker each. "auto" (default): what OCTAVO_DEVICE says, else cuda:0 where
   * there is an NVIDIA GPU that can be used (with a warning when only torch or triton is missing for it), else cpu:0.
   */
  readonly devices?: string | readonly string[] | undefined;
  /** How many devices "auto" stands for: cuda:0, cuda:1, ... or cpu:0, cpu:1, ... Default 1. */
  readonly count?: number | undefined;
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
   * Milliseconds from the start of a worker process to its hello. Default 300,000: the first worker on a machine may have
   * to compile the CPU kernels.
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
}

function checkFunction(name: string): void {
  if (/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?$/.test(name) && name.length <= 256) return;
  throw badArgument(`${quoted(name)} in ops is not a Python module or function; write "my_ops" or "my_ops:rotate"`);
}
