/** What a caller may ask of a loaded model, checked before anything is opened or started. Pure. */
import { z } from "zod";
import { checkModelName, checkOptions, type Rules } from "../arguments.ts";
import { OctavoError } from "../errors.ts";
import { parseDeviceNames } from "../plan/devices.ts";
import { PLAN_RULES } from "../plan/options.ts";
import { type Threshold, thresholdAttributes } from "../program/threshold.ts";
import type { Warn } from "../warnings.ts";
import type { StepReport } from "./statistics.ts";

export interface LoadProgress {
  /**
   * `model`: headers and tokenizer. `kernels`: files of the CPU kernels, which the first worker on a machine compiles.
   * `worker`: the process. `weights`: bytes of the model's files. `program`: ready to run.
   */
  readonly stage: "model" | "kernels" | "worker" | "weights" | "program";
  readonly done: number;
  readonly total: number;
}

export interface LoadOptions {
  /** "auto" (default, see `PoolOptions`), "cpu:0", "cuda:0", "reference:0". This version runs a model on one device. */
  readonly devices?: string | readonly string[] | undefined;
  /** Threads of the worker. By default the CPUs that this process may use, and never more (with a warning). */
  readonly threads?: number | undefined;
  /** "int8" (default): LLM.int8(). "16bit": as in the files. */
  readonly weights?: "int8" | "16bit" | undefined;
  /** The output layer. Default "16bit", as in the paper. */
  readonly head?: "16bit" | "int8" | undefined;
  /**
   * Type of K and V in memory. Default "float16", which is more exact; "bfloat16" for a model whose keys or values leave
   * float16's range (65,504), which ends a request with `OCTAVO_NONFINITE`.
   */
  readonly kv?: "float16" | "bfloat16" | undefined;
  /** Which activations are outliers. Default "adaptive". */
  readonly threshold?: Threshold | undefined;
  /** Tokens that prompt and answer of one request may have together. By default the model's, at most 4,096. */
  readonly context?: number | undefined;
  /** Requests that run at the same time; others wait. Default 8. */
  readonly sequences?: number | undefined;
  /** Tokens of a step: prompts are cut into chunks of at most this many. Default 512. */
  readonly tokenBudget?: number | undefined;
  /**
   * Bytes that the worker may use, at most what the device has. By default what is available there: memory that nobody uses
   * and what the system would give up at once (its cache of files).
   */
  readonly memoryLimit?: number | undefined;
  /** Python interpreter. By default OCTAVO_PYTHON, then the package's own `.venv`, then `python3`. */
  readonly python?: string | undefined;
  /** Milliseconds from the start of the worker to its hello. Default 300,000 (the first one may compile). */
  readonly startDeadlineMs?: number | undefined;
  /** Milliseconds that a step may take before its worker is stopped. By default from ten seconds on (see `PoolOptions`). */
  readonly stepDeadlineMs?: number | undefined;
  /** Aborting it ends the load, and leaves no process. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /**
   * After each step, when its tokens have been handed out: a place for metrics. Steps wait for what it does. If it throws or
   * rejects, requests go on; `onWarning` is told once, and it is not called again.
   */
  readonly onStep?: ((step: StepReport) => void) | undefined;
  /** Lines that the worker writes. */
  readonly onLog?: ((line: string) => void) | undefined;
  /** What is not as asked for, or as the model's files say, although it loads. By default `process.emitWarning`. */
  readonly onWarning?: Warn | undefined;
}

const MAX_DEADLINE_MS = 86_400_000;

const RULES: Rules<LoadOptions> = {
  ...PLAN_RULES,
  devices: [z.union([z.string(), z.array(z.string())]), 'a device such as "cpu:0", or "auto"'],
  threads: [z.int().min(1).max(1024), "a whole number from 1 to 1024"],
  kv: [z.enum(["float16", "bfloat16"]), '"float16" or "bfloat16"'],
  python: [z.string().min(1), "the path of a Python interpreter"],
  startDeadlineMs: [z.int().min(1).max(MAX_DEADLINE_MS), "milliseconds, a whole number from 1 to 86400000"],
  stepDeadlineMs: [z.int().min(1).max(MAX_DEADLINE_MS), "milliseconds, a whole number from 1 to 86400000"],
  signal: [z.instanceof(AbortSignal), "an AbortSignal"],
  onProgress: [z.function(), "a function"],
  onStep: [z.function(), "a function"],
  onLog: [z.function(), "a function"],
  onWarning: [z.function(), "a function"],
};

/** Throws `OCTAVO_BAD_ARGUMENT`. */
export function checkLoadOptions(model: unknown, options: LoadOptions): void {
  checkModelName(model, 'Engine.load("smollm2", { devices: "auto" })');
  checkOptions(options, RULES);
  if (options.threshold !== undefined) thresholdAttributes(options.threshold);
  const devices = parseDeviceNames(options.devices ?? "auto");
  if (devices.length !== 1) {
    const text = `${devices.length} devices; this version runs a model on one. Load one engine per device instead`;
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", text);
  }
}
