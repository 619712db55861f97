/** What a model takes on one device, from headers alone; or why it does not fit, and the smallest change that would. Pure. */
import type { Sizes } from "../../protocol/messages.ts";
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import { buildModel, describeModel } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { arena } from "../program/arena.ts";
import { fuse } from "../program/fuse.ts";
import type { Parameter, Program } from "../program/program.ts";
import type { Threshold } from "../program/threshold.ts";
import { allocatedBytes, formatBytes } from "./bytes.ts";
import type { DeviceSize } from "./devices.ts";

/** A worker before any handle: interpreter, numpy, pyzmq, the kernel library. An estimate; `describe` has the real one. */
const WORKER_BASELINE = 64 * 2 ** 20;
/** Left free for allocator slack and messages in flight: an estimate, 2 % of the device. */
const MARGIN = 0.02;

export interface PlanOptions {
  readonly device: DeviceSize;
  /** Bytes that may be used, instead of all of the device. */
  readonly memoryLimit?: number;
  readonly context?: number;
  readonly sequences?: number;
  readonly tokenBudget?: number;
  readonly weights?: "int8" | "16bit";
  readonly head?: "16bit" | "int8";
  readonly threshold?: Threshold;
  /** Bytes of the worker process, when it is known. */
  readonly baseline?: number;
}

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
  readonly totals: { readonly int8: number; readonly scales: number; readonly sixteenBit: number };
  readonly devices: readonly DevicePlan[];
  /** What the engine needs beside the report. */
  readonly details: {
    context: number;
    sequences: number;
    pages: number;
    tokenBudget: number;
    arenaBytes: number;
    limits: Sizes;
  };
}

/** KV takes what remains, capped by sequences x context; one sequence of full context must fit. */
export function planManifest(manifest: Manifest, options: PlanOptions): Plan {
  const model = describeModel(manifest);
  const context = positive("context", options.context ?? Math.min(model.context, 4096));
  const sequences = positive("sequences", options.sequences ?? 8);
  const tokenBudget = positive("tokenBudget", options.tokenBudget ?? 512);
  if (context > model.context)
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `context ${context}; the model was trained for ${model.context}`);
  const pagesPerSequence = Math.ceil(context / PAGE_SIZE);
  const limits: Sizes = {
    T: Math.max(tokenBudget, sequences),
    S: sequences,
    B: sequences,
    J: pagesPerSequence,
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
  const taken = parameterBytes(program);
  const arenaBytes = arena(program, limits).bytes;
  const weights = taken.int8 + taken.scales + taken.sixteenBit;
  const activations = arenaBytes + taken.io;
  const total = Math.min(options.device.total, options.memoryLimit ?? Number.POSITIVE_INFINITY);
  const margin = Math.ceil(total * MARGIN);
  const fixed = options.baseline ?? WORKER_BASELINE;
  const room = total - weights - activations - fixed - margin;
  const pages = Math.max(0, Math.min(sequences * pagesPerSequence, Math.floor(room / taken.kvPage)));
  const fits = pages >= pagesPerSequence;
  const kv = pages * taken.kvPage;
  const missing = pagesPerSequence * taken.kvPage - room;
  const refusal = fits
    ? {}
    : {
        refusal:
          `${options.device.name}: ${formatBytes(weights)} of weights, ${formatBytes(activations)} of activations, ` +
          `${formatBytes(fixed)} for the worker and ${formatBytes(margin)} of margin leave ${formatBytes(room)} of ` +
          `${formatBytes(total)}; one sequence of ${context} tokens needs ${formatBytes(pagesPerSequence * taken.kvPage)}. ` +
          (pages > 0 ? `It fits with context ${pages * PAGE_SIZE}, or with ` : "It fits with ") +
          `${formatBytes(missing)} (${missing} bytes) more.`,
      };
  return {
    fits,
    ...refusal,
    kvTokens: pages * PAGE_SIZE,
    totals: { int8: taken.int8, scales: taken.scales, sixteenBit: taken.sixteenBit },
    devices: [
      {
        name: options.device.name,
        total,
        weights,
        kv,
        activations,
        context: fixed,
        collectives: 0,
        margin,
        free: room - kv,
      },
    ],
    details: { context, sequences, pages, tokenBudget, arenaBytes, limits },
  };
}

/** Bytes by kind. `sixteenBit` is every weight that is neither codes nor scales: tables, norms, biases, constants. */
function parameterBytes(program: Program) {
  const bytes = { int8: 0, scales: 0, sixteenBit: 0, kvPage: 0, io: 0 };
  for (const parameter of program.parameters.values())
    bytes[kindOf(parameter)] += allocatedBytes(parameter.dtype, parameter.layout, parameter.shape);
  return bytes;
}

function kindOf({ source }: Parameter): "int8" | "scales" | "sixteenBit" | "kvPage" | "io" {
  switch (source.type) {
    case "tensors":
      return source.form === "int8" ? "int8" : "sixteenBit";
    case "scale":
      return "scales";
    case "constant":
      return "sixteenBit";
    case "state":
      return source.kind === "kv" ? "kvPage" : "io";
  }
}

function positive(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new OctavoError("OCTAVO_BAD_ARGUMENT", `${name} is ${value}; it takes a positive whole number`);
}
