/** What a model takes on one device, from headers alone; or why it does not fit, and the smallest change that would. */
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import type { Sizes } from "../../protocol/messages.ts";
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import { kvLayout, pageBytes } from "../memory/kv/layout.ts";
import { buildModel, describeModel, modelOfConfig } from "../model/families/index.ts";
import { findModel, openFound } from "../model/source/index.ts";
import { parseObject } from "../model/source/json.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { arena } from "../program/arena.ts";
import { fuse } from "../program/fuse.ts";
import type { Parameter, Program } from "../program/program.ts";
import { allocatedBytes } from "../program/tensor-bytes.ts";
import { isAbsent, MAX_CONFIG_BYTES, readBytes } from "../regular-file.ts";
import { autoDevices, listGpus } from "../workers/gpus.ts";
import { type DeviceName, type DeviceSize, isDeviceNames, parseDeviceNames, parseDeviceSizes } from "./devices.ts";
import { checkPlanOptions, type PlanModelOptions, type PlanOptions } from "./options.ts";
import { processBytes, threadBytes } from "./process-bytes.ts";
import { explainRefusal } from "./refusal.ts";

/** Left free for allocator slack, messages in flight, captured graphs: an estimate, a share of the device. */
const MARGIN = 0.02;
/** Of the rope tables, 1 GiB of them: 2 million positions of heads of 128 elements. */
const MAX_ROPE_ELEMENTS = 2 ** 28;

/** Bytes of one device. */
export interface DevicePlan {
  readonly name: string;
  readonly total: number;
  readonly weights: number;
  readonly kv: number;
  readonly activations: number;
  readonly context: number;
  readonly collectives: number;
  readonly margin: number;
  readonly free: number;
}

export interface Plan {
  readonly fits: boolean;
  readonly refusal?: string;
  /** Tokens that the KV pages hold. */
  readonly kvTokens: number;
  /** Tokens that all sequences together reach at full length. Where `kvTokens` are fewer, the last ones wait for pages. */
  readonly wantedTokens: number;
  readonly totals: { readonly int8: number; readonly scales: number; readonly sixteenBit: number };
  readonly devices: readonly DevicePlan[];
  /** What the engine needs beside the report. */
  readonly details: {
    readonly context: number;
    readonly sequences: number;
    readonly pages: number;
    readonly tokenBudget: number;
    readonly arenaBytes: number;
    readonly limits: Sizes;
  };
}

/**
 * Reads headers only; `model` is what `Engine.load` takes, or a `config.json` without the rest, which then tells the sizes. No worker is started: a
 * device named rather than sized is taken to have this machine's memory, cuda:0 what nobody uses of that GPU's.
 * Throws what `openModel` throws, `OCTAVO_BAD_ARGUMENT`, `OCTAVO_NO_DEVICE`.
 */
export async function planModel(model: string, options: PlanModelOptions = {}): Promise<Plan> {
  checkPlanOptions(model, options);
  const device = await onlyDevice(options);
  return planManifest(await openHeaders(model), { ...options, device });
}

/** What a model takes on any device: the part of a plan that takes time. */
export interface ModelNeeds {
  readonly context: number;
  readonly sequences: number;
  readonly tokenBudget: number;
  readonly limits: Sizes;
  readonly arenaBytes: number;
  /** Bytes by kind; `kvPage` of one page in all layers. */
  readonly bytes: { int8: number; scales: number; sixteenBit: number; kvPage: number; io: number };
  /** Bytes of a thread of the worker, beside these. */
  readonly threadBytes: number;
}

/** Pure; needs no device. Throws `OCTAVO_BAD_ARGUMENT`, and what the model's family throws. */
export function needsOf(manifest: Manifest, options: PlanOptions): ModelNeeds {
  const model = describeModel(manifest);
  const context = options.context ?? Math.min(model.context, 4096);
  const sequences = options.sequences ?? 8;
  const tokenBudget = options.tokenBudget ?? 512;
  if (context > model.context)
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `context ${context}; the model was trained for ${model.context}`);
  const positions = Math.floor(MAX_ROPE_ELEMENTS / model.headDim);
  if (context > positions) {
    const text = `context ${context}; with heads of ${model.headDim} elements it goes up to ${positions}`;
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", text);
  }
  const limits: Sizes = {
    T: Math.max(tokenBudget, sequences),
    S: sequences,
    B: sequences,
    J: Math.ceil(context / PAGE_SIZE),
    H: sequences * context,
    D: sequences * 1024,
    Q: sequences,
  };
  const program = fuse(
    buildModel(manifest, {
      weights: options.weights ?? "int8",
      head: options.head ?? "16bit",
      threshold: options.threshold ?? "adaptive",
      context,
      pages: 1,
      rows: sequences,
      kv: "float16",
      output: { type: "sample" },
    }),
  );
  const arenaBytes = arena(program, limits).bytes;
  const thread = threadBytes(program.parameters.values(), model.vocabulary, manifest.tensors);
  return { context, sequences, tokenBudget, limits, arenaBytes, bytes: parameterBytes(program), threadBytes: thread };
}

/** Pure. KV takes what remains, capped by sequences x context; one sequence of full context must fit. */
export function planManifest(
  manifest: Manifest,
  options: PlanOptions & { readonly device: DeviceSize },
  needs: ModelNeeds = needsOf(manifest, options),
): Plan {
  const plan = place(needs, options);
  if (plan.fits) return plan;
  const retry = (other: typeof options) => place(needsOf(manifest, other), other);
  return { ...plan, refusal: explainRefusal(plan, options, MARGIN, retry) };
}

function place(needs: ModelNeeds, options: PlanOptions & { readonly device: DeviceSize }): Plan {
  const { context, sequences, tokenBudget, limits, arenaBytes, bytes } = needs;
  const pagesPerSequence = limits.J;
  const weights = bytes.int8 + bytes.scales + bytes.sixteenBit;
  const activations = arenaBytes + bytes.io;
  const total = Math.min(options.device.total, options.memoryLimit ?? Number.POSITIVE_INFINITY);
  const margin = Math.ceil(total * MARGIN);
  const { backend = "cpu", threads = 1 } = options.device;
  const fixed = processBytes(backend, needs.threadBytes, threads, options.baseline);
  const room = total - weights - activations - fixed - margin;
  const pages = Math.max(0, Math.min(sequences * pagesPerSequence, Math.floor(room / bytes.kvPage)));
  const fits = pages >= pagesPerSequence;
  const kv = (fits ? pages : pagesPerSequence) * bytes.kvPage;
  const device = { name: options.device.name, total, weights, kv, activations, context: fixed, collectives: 0, margin };
  return {
    fits,
    kvTokens: pages * PAGE_SIZE,
    wantedTokens: sequences * pagesPerSequence * PAGE_SIZE,
    totals: { int8: bytes.int8, scales: bytes.scales, sixteenBit: bytes.sixteenBit },
    devices: [{ ...device, free: room - kv }],
    details: { context, sequences, pages, tokenBudget, arenaBytes, limits },
  };
}

/** A manifest, also of a `config.json` without the rest. */
export async function openHeaders(model: string): Promise<Manifest> {
  if (model.endsWith(".json")) return openConfig(model);
  const found = await findModel(model);
  return found.onlyConfig ? openConfig(join(found.path, "config.json")) : openFound(found);
}

async function openConfig(path: string): Promise<Manifest> {
  const content = await readBytes(path, MAX_CONFIG_BYTES).catch((cause: unknown) => {
    throw isAbsent(cause) ? new OctavoError("OCTAVO_MODEL_NOT_FOUND", `${path} is not there`, { cause }) : cause;
  });
  return modelOfConfig(path, parseObject(path, content));
}

/** The seam of sharding: with a `shard` pass there will be one program, and one plan, per rank. */
async function onlyDevice({ devices = "auto" }: PlanModelOptions): Promise<DeviceSize> {
  const text = typeof devices === "string" ? devices : devices.join(",");
  const all = isDeviceNames(text) ? parseDeviceNames(text, autoDevices()[0]) : parseDeviceSizes(text);
  const [first, ...others] = all;
  if (first && others.length === 0) return "total" in first ? first : sizeOf(first);
  const message = `${all.length} devices (${text}): this version runs a model on one device; name one, such as 24GiB`;
  throw new OctavoError("OCTAVO_BAD_ARGUMENT", message);
}

async function sizeOf({ name, backend, index }: DeviceName): Promise<DeviceSize> {
  if (backend !== "cuda") return { name, backend, threads: availableParallelism(), total: machineMemory() };
  const gpus = await listGpus();
  const gpu = gpus[index];
  if (gpu !== undefined) return { name, backend, total: gpu.free };
  const text = `${name}: nvidia-smi lists ${gpus.length} GPUs here; give the size of the one you mean, such as 24GiB`;
  throw new OctavoError("OCTAVO_NO_DEVICE", text);
}

/** Memory of this machine, or of the container that this process is in. */
function machineMemory(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

/** Bytes by kind. `sixteenBit` is every weight that is neither codes nor scales: tables, norms, biases, constants. */
function parameterBytes(program: Program) {
  const bytes = { int8: 0, scales: 0, sixteenBit: 0, io: 0, kvPage: pageBytes(kvLayout(program)) };
  for (const parameter of program.parameters.values()) {
    const kind = kindOf(parameter);
    if (kind !== "kv") bytes[kind] += allocatedBytes(parameter.dtype, parameter.layout, parameter.shape);
  }
  return bytes;
}

function kindOf({ source }: Parameter): "int8" | "scales" | "sixteenBit" | "kv" | "io" {
  switch (source.type) {
    case "tensors":
      return source.form === "int8" ? "int8" : "sixteenBit";
    case "scale":
      return "scales";
    case "constant":
      return "sixteenBit";
    case "state":
      return source.kind;
  }
}
