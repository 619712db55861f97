/** What a caller may ask of a loaded model, checked before anything is opened or started. Pure. */
import { z } from "zod";
import { checkModelName, checkOptions, type Rules } from "../arguments.ts";
import { badArgument } from "../errors.ts";
import { isAuto, parseDeviceNames } from "../plan/devices.ts";
import { PARALLEL_RULES, type ParallelOptions, ranksOf } from "../plan/parallel.ts";
import { checkThresholds, SETTINGS_RULES, type SettingsOptions } from "../plan/settings.ts";
import { Pool } from "../pool.ts";
import type { PoolOptions } from "../pool-options.ts";
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

type WorkerOptions = Pick<PoolOptions, "threads" | "python" | "startDeadlineMs" | "stepDeadlineMs">;

export interface LoadOptions extends SettingsOptions, ParallelOptions, WorkerOptions {
  /**
   * Where the model runs; the caller's, who also disposes of it. Several models may share one. When a worker of it is lost the
   * engine starts another there. By default a pool is started for this model, with the options of `PoolOptions` below.
   */
  readonly pool?: Pool | undefined;
  /**
   * "auto" (default, see `PoolOptions`), "cpu:0", "cuda:0", "reference:0", or several, "cuda:0,cuda:1": each then has a part of
   * every layer (`tensorParallel`), and all answer together, with the bits of one. With `pool`: of its devices; by default all.
   */
  readonly devices?: string | readonly string[] | undefined;
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

const milliseconds = [z.int().min(1).max(MAX_DEADLINE_MS), "milliseconds, a whole number from 1 to 86400000"] as const;
const callback = [z.function(), "a function"] as const;

const RULES: Rules<LoadOptions> = {
  ...SETTINGS_RULES,
  ...PARALLEL_RULES,
  pool: [z.custom((value) => value instanceof Pool), "a pool, from Pool.start()"],
  devices: [z.union([z.string(), z.array(z.string())]), 'a device such as "cpu:0", a list of them, or "auto"'],
  threads: [z.int().min(1).max(1024), "a whole number from 1 to 1024"],
  python: [z.string().min(1), "the path of a Python interpreter"],
  startDeadlineMs: milliseconds,
  stepDeadlineMs: milliseconds,
  signal: [z.instanceof(AbortSignal), "an AbortSignal"],
  onProgress: callback,
  onStep: callback,
  onLog: callback,
  onWarning: callback,
};

/** What a pool that is there was started with. `python` also says where packaged models are. */
const OF_POOLS = ["threads", "startDeadlineMs", "stepDeadlineMs", "onLog"] as const;

/** Gives the number of ranks. Throws `OCTAVO_BAD_ARGUMENT`. */
export function checkLoadOptions(model: unknown, options: LoadOptions): number {
  checkModelName(model, 'Engine.load("smollm2", { devices: "auto" })');
  checkOptions(options, RULES);
  checkThresholds(options);
  const { pool, devices = "auto" } = options;
  const listed = isAuto(devices) ? pool?.devices.length : parseDeviceNames(devices).length;
  const own = pool && OF_POOLS.find((name) => options[name] !== undefined);
  if (own === undefined) return ranksOf(listed, options);
  throw badArgument(`${own} is for workers that are started; give it to Pool.start instead`);
}
