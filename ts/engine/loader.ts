/**
 * From a model's name to a program that is ready to run.
 * Headers and tokenizer are read while the worker starts; then the plan, which refuses before anything is allocated;
 * then memory, weights and program. Whatever fails, no process is left, and nothing on a pool that others use.
 */
import { ModelDeployment, type ResideTimings } from "../deploy/deployment.ts";
import { endedByLoss } from "../deploy/recovery.ts";
import { processTrace } from "../deploy/trace.ts";
import { badArgument } from "../errors.ts";
import { describeModel, type ModelDescription } from "../model/families/index.ts";
import type { SamplingDefaults } from "../model/source/generation-config.ts";
import { openModel } from "../model/source/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { Tokenizer } from "../model/tokenizer.ts";
import { isAuto, parseDeviceNames } from "../plan/devices.ts";
import { needsOf } from "../plan/needs.ts";
import { equalShares } from "../plan/parallel.ts";
import { rankPrograms } from "../plan/programs.ts";
import { Pool } from "../pool.ts";
import { emitWarning } from "../warnings.ts";
import { checkLoadOptions, type LoadOptions } from "./load-options.ts";

/** Milliseconds of the parts of a load; the first two run at the same time. */
export interface LoadTimings extends ResideTimings {
  readonly openMs: number;
  readonly workerMs: number;
  readonly planMs: number;
  readonly totalMs: number;
}

export interface LoadedModel {
  readonly manifest: Manifest;
  readonly description: ModelDescription;
  readonly defaults: SamplingDefaults;
  /** Undefined for a model without tokenizer files. */
  readonly tokenizer: Tokenizer | undefined;
  /** With the model on it. */
  readonly deployment: ModelDeployment;
  readonly timings: LoadTimings;
}

/** Throws what `Engine.load` throws. */
export async function loadModel(model: string, options: LoadOptions): Promise<LoadedModel> {
  const ranks = checkLoadOptions(model, options);
  checkTrace(ranks);
  options.signal?.throwIfAborted();
  const begin = performance.now();
  const { opened, worker } = await openAndStart(model, options, ranks);
  const { pool } = worker;
  const ownsPool = options.pool === undefined;
  let deployment: ModelDeployment | undefined;
  try {
    const { manifest, description, tokenizer, needs } = opened;
    const planning = performance.now();
    const devices = ownsPool ? pool.devices : devicesOf(pool, options);
    const parts = { pool, ownsPool, devices, name: model, manifest, needs, programs: rankPrograms };
    deployment = await ModelDeployment.plan(parts, options);
    const planMs = performance.now() - planning;
    const timings = await deployment.load({
      signal: options.signal,
      onProgress: (done, total) => options.onProgress?.({ stage: "weights", done, total }),
    });
    options.onProgress?.({ stage: "program", done: 1, total: 1 });
    options.signal?.throwIfAborted(); // By the last moments of the load, or by `onProgress`.
    const totalMs = performance.now() - begin;
    const defaults = manifest.generation?.defaults ?? {};
    const all = { ...timings, openMs: opened.ms, workerMs: worker.ms, planMs, totalMs };
    return { manifest, description, defaults, tokenizer, deployment, timings: all };
  } catch (error) {
    await deployment?.dispose();
    if (ownsPool) await pool.dispose();
    throw endedByLoss(error); // The same call starts another worker.
  }
}

/** What cannot be written, or not be replayed, is refused before anything starts. */
function checkTrace(ranks: number): void {
  if (processTrace() === null || ranks === 1) return;
  const text = `OCTAVO_TRACE is set, and a trace is of models on one device, not on ${ranks}`;
  throw badArgument(`${text}; unset it, or name one device: ids and logits are the same`);
}

/** Devices of a caller's pool; "auto" is all that it has. Throws `OCTAVO_BAD_ARGUMENT`. */
function devicesOf(pool: Pool, { devices = "auto" }: LoadOptions) {
  return isAuto(devices) ? pool.devices : parseDeviceNames(devices).map(({ name }) => pool.device(name));
}

/** Both at the same time. The first failure ends the other, and is what is thrown. */
async function openAndStart(model: string, options: LoadOptions, ranks: number) {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const stopping = <T>(task: Promise<T>): Promise<T> =>
    task.catch((error) => {
      stop.abort(error);
      throw error;
    });
  const { pool } = options;
  const [opened, worker] = await Promise.allSettled([
    stopping(open(model, options, ranks, signal)),
    pool === undefined ? stopping(startPool(options, ranks, signal)) : { pool, ms: 0 },
  ]);
  if (opened.status === "fulfilled" && worker.status === "fulfilled")
    return { opened: opened.value, worker: worker.value };
  if (pool === undefined && worker.status === "fulfilled") await worker.value.pool.dispose();
  throw stop.signal.reason;
}

async function open(model: string, options: LoadOptions, ranks: number, signal: AbortSignal) {
  const begin = performance.now();
  const manifest = await openModel(model, options);
  signal.throwIfAborted();
  const ignored = manifest.generation?.ignored ?? [];
  if (ignored.length > 0) {
    const text = `${manifest.path} asks for ${ignored.join(", ")} when it generates; this version answers without that`;
    (options.onWarning ?? emitWarning)(text);
  }
  const description = describeModel(manifest);
  const { shares = equalShares(ranks), pipelineParallel } = options;
  const needs = needsOf(manifest, options, shares, pipelineParallel); // What most devices come to.
  const tokenizer = manifest.tokenizer === undefined ? undefined : Tokenizer.from(manifest);
  options.onProgress?.({ stage: "model", done: 1, total: 1 });
  return { manifest, description, needs, tokenizer, ms: performance.now() - begin };
}

async function startPool(options: LoadOptions, ranks: number, signal: AbortSignal) {
  const begin = performance.now();
  const { devices, threads, python, onLog, onWarning, startDeadlineMs, stepDeadlineMs } = options;
  const pool = await Pool.start({
    ...{ devices, count: ranks, threads, python, onWarning, startDeadlineMs, stepDeadlineMs, signal },
    onLog: onLog && ((_device, line) => onLog(line)),
    onProgress: ({ stage, done, total }) =>
      options.onProgress?.({ stage: stage === "workers" ? "worker" : stage, done, total }),
  });
  return { pool, ms: performance.now() - begin };
}
