/**
 * From a model's name to a program that is ready to run.
 * Headers and tokenizer are read while the worker starts; then the plan, which refuses before anything is allocated;
 * then memory, weights and program. Whatever fails, no process is left.
 */

import { type DefineOptions, type DefineTimings, ResidentModel } from "../deploy/resident.ts";
import { processTrace } from "../deploy/trace.ts";
import { OctavoError } from "../errors.ts";
import type { PlannedBytes } from "../memory/ledger.ts";
import { describeModel, type ModelDescription, type ModelOptions } from "../model/families/index.ts";
import type { SamplingDefaults } from "../model/source/generation-config.ts";
import { openModel } from "../model/source/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { Tokenizer } from "../model/tokenizer.ts";
import { type ModelNeeds, needsOf, type Plan, planManifest } from "../plan/plan.ts";
import { Pool } from "../pool.ts";
import { DEFAULT_THRESHOLD } from "../program/threshold.ts";
import type { Device } from "../tensor/device.ts";
import type { ProgramHandle } from "../tensor/program-handle.ts";
import { emitWarning } from "../warnings.ts";
import { FileStates } from "./file-states.ts";
import { checkLoadOptions, type LoadOptions } from "./load-options.ts";

/** Milliseconds of the parts of a load; the first two run at the same time. */
export interface LoadTimings extends DefineTimings {
  readonly openMs: number;
  readonly workerMs: number;
  readonly planMs: number;
  readonly totalMs: number;
}

/** The model on one worker. */
export interface Residence {
  readonly resident: ResidentModel;
  /** Runs a step and draws tokens. */
  readonly program: ProgramHandle;
  /** The same, with logits for their caller. */
  defineLogits(): Promise<ProgramHandle>;
}

export interface LoadedModel extends Residence {
  readonly description: ModelDescription;
  readonly defaults: SamplingDefaults;
  /** Undefined for a model without tokenizer files. */
  readonly tokenizer: Tokenizer | undefined;
  readonly plan: Plan;
  readonly pool: Pool;
  readonly timings: LoadTimings;
  /**
   * The model on another worker, as the first time. What the worker has by then is freed.
   * Throws what `Engine.load` throws, and `OCTAVO_MODEL_FILE_INVALID` when a file has changed since.
   */
  reside(device: Device, options: DefineOptions): Promise<Residence>;
}

/** Throws what `Engine.load` throws. */
export async function loadModel(model: string, options: LoadOptions): Promise<LoadedModel> {
  checkLoadOptions(model, options);
  processTrace(); // What cannot be written is refused before anything starts.
  options.signal?.throwIfAborted();
  const begin = performance.now();
  const { opened, worker } = await openAndStart(model, options);
  const { pool } = worker;
  try {
    const { manifest, description, tokenizer } = opened;
    const device = pool.devices[0]!;
    const planning = performance.now();
    const plan = await planFor(opened, device, options);
    const files = new FileStates(manifest);
    const reside = (on: Device, how: DefineOptions) =>
      resideOn(on, manifest, model, plan, modelOptions(options, plan), how);
    const planMs = performance.now() - planning;
    const { timings, ...residence } = await reside(device, {
      signal: options.signal,
      onProgress: (done, total) => options.onProgress?.({ stage: "weights", done, total }),
    });
    options.onProgress?.({ stage: "program", done: 1, total: 1 });
    options.signal?.throwIfAborted(); // By the last moments of the load, or by `onProgress`.
    const totalMs = performance.now() - begin;
    const all = { ...timings, openMs: opened.ms, workerMs: worker.ms, planMs, totalMs };
    const defaults = manifest.generation?.defaults ?? {};
    return {
      ...residence,
      ...{ description, defaults, tokenizer, plan, pool, timings: all },
      reside: async (on, how) => {
        files.check();
        return await reside(on, how);
      },
    };
  } catch (error) {
    await pool.dispose();
    throw error;
  }
}

async function resideOn(
  device: Device,
  manifest: Manifest,
  model: string,
  plan: Plan,
  built: ModelOptions,
  options: DefineOptions,
): Promise<Residence & { readonly timings: DefineTimings }> {
  await device.free(device.ledger.entries().map(({ handle }) => ({ id: handle }))); // Of an attempt that failed.
  device.ledger.plan(model, plannedBytes(plan));
  const resident = new ResidentModel(device, manifest, model);
  const { limits } = plan.details;
  const { program, timings } = await resident.define(built, limits, options);
  const defineLogits = async () =>
    (await resident.define({ ...built, output: { type: "sample", logits: true } }, limits)).program;
  return { resident, program, timings, defineLogits };
}

interface Opened {
  readonly manifest: Manifest;
  readonly description: ModelDescription;
  readonly needs: ModelNeeds;
  readonly tokenizer: Tokenizer | undefined;
  readonly ms: number;
}

interface Started {
  readonly pool: Pool;
  readonly ms: number;
}

/** Both at the same time. The first failure ends the other, and is what is thrown. */
async function openAndStart(model: string, options: LoadOptions): Promise<{ opened: Opened; worker: Started }> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const stopping = <T>(task: Promise<T>): Promise<T> =>
    task.catch((error) => {
      stop.abort(error);
      throw error;
    });
  const [opened, worker] = await Promise.allSettled([
    stopping(open(model, options, signal)),
    stopping(startPool(options, signal)),
  ]);
  if (opened.status === "fulfilled" && worker.status === "fulfilled")
    return { opened: opened.value, worker: worker.value };
  if (worker.status === "fulfilled") await worker.value.pool.dispose();
  throw stop.signal.reason;
}

async function open(model: string, options: LoadOptions, signal: AbortSignal): Promise<Opened> {
  const begin = performance.now();
  const manifest = await openModel(model, options.python === undefined ? {} : { python: options.python });
  signal.throwIfAborted();
  const ignored = manifest.generation?.ignored ?? [];
  if (ignored.length > 0) {
    const text = `${manifest.path} asks for ${ignored.join(", ")} when it generates; this version answers without that`;
    (options.onWarning ?? emitWarning)(text);
  }
  const description = describeModel(manifest);
  const needs = needsOf(manifest, options);
  const tokenizer = manifest.tokenizer === undefined ? undefined : Tokenizer.from(manifest);
  options.onProgress?.({ stage: "model", done: 1, total: 1 });
  return { manifest, description, needs, tokenizer, ms: performance.now() - begin };
}

async function startPool(options: LoadOptions, signal: AbortSignal): Promise<Started> {
  const begin = performance.now();
  const { threads, python, onLog, onWarning, startDeadlineMs, stepDeadlineMs } = options;
  const pool = await Pool.start({
    devices: options.devices ?? "auto",
    ...(threads === undefined ? {} : { threads }),
    ...(python === undefined ? {} : { python }),
    ...(startDeadlineMs === undefined ? {} : { startDeadlineMs }),
    ...(stepDeadlineMs === undefined ? {} : { stepDeadlineMs }),
    ...(onLog === undefined ? {} : { onLog: (_device, line) => onLog(line) }),
    ...(onWarning === undefined ? {} : { onWarning }),
    signal,
    onProgress: ({ stage, done, total }) =>
      options.onProgress?.({ stage: stage === "workers" ? "worker" : stage, done, total }),
  });
  return { pool, ms: performance.now() - begin };
}

/** Throws `OCTAVO_PLAN_DOES_NOT_FIT`; nothing has been allocated by then. */
async function planFor({ manifest, needs }: Opened, device: Device, options: LoadOptions): Promise<Plan> {
  const { memoryTotal, baseline, backend, threads } = device.description;
  // What the worker takes already is not available any more, but the plan counts it again. A limit that the caller gives
  // stands for what is available: only he knows what will be free by then.
  const memoryLimit = options.memoryLimit ?? (await device.memoryAvailable()) + baseline;
  const size = { name: device.name, backend, threads, total: memoryTotal };
  const plan = planManifest(manifest, { ...options, device: size, memoryLimit, baseline }, needs);
  if (!plan.fits)
    throw new OctavoError("OCTAVO_PLAN_DOES_NOT_FIT", plan.refusal ?? `${manifest.path} does not fit ${device.name}`);
  return plan;
}

function plannedBytes({ totals, devices }: Plan): PlannedBytes[] {
  return devices.flatMap(({ kv, activations, name: owner }) => [
    { owner, kind: "weight", bytes: totals.int8 + totals.sixteenBit },
    { owner, kind: "scale", bytes: totals.scales },
    { owner, kind: "kv", bytes: kv },
    { owner, kind: "arena", bytes: activations },
  ]);
}

export function modelOptions(options: LoadOptions, { details }: Plan): ModelOptions {
  return {
    weights: options.weights ?? "int8",
    head: options.head ?? "16bit",
    threshold: options.threshold ?? DEFAULT_THRESHOLD,
    context: details.context,
    pages: details.pages,
    rows: details.limits.S,
    kv: options.kv ?? "float16",
    output: { type: "sample" },
  };
}
