/** The programs of an evaluation: the 16-bit one, which leaves its logits on the device, and the judged ones, which read them. */
import type { Sizes } from "../../protocol/messages.ts";
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { NO_SIZES } from "../../protocol/sizes.ts";
import type { StepProgram } from "../deploy/group.ts";
import type { DefineOptions } from "../deploy/resident.ts";
import { blame, nonfinite } from "../engine/diagnosis.ts";
import { type Head, headForm, type KvType, type ModelOptions } from "../model/families/index.ts";
import { cutPrograms } from "../plan/programs.ts";
import { segmentBytes } from "../plan/segment.ts";
import { MODEL_DEFAULTS } from "../plan/settings.ts";
import { fuse } from "../program/fuse.ts";
import { packInputs, unpackOutputs } from "../program/payload.ts";
import { formatScheme, type Scheme } from "../program/scheme.ts";
import { formatThreshold, type Threshold } from "../program/threshold.ts";
import { assertRoom, CHUNK, chunkInputs, type OpenedText } from "./open.ts";
import { Tally } from "./tally.ts";
import type { Chunk } from "./windows.ts";

export interface Run {
  /** Null for the 16-bit run. */
  readonly threshold: Threshold | null;
  readonly scheme?: Scheme;
  readonly head: "16bit" | "int8";
  /** Null for a head that has none: 16-bit, or by a scheme. */
  readonly headThreshold: Threshold | null;
  readonly kv: KvType;
  readonly program: StepProgram;
  /** Its own KV pages begin here. */
  readonly firstPage: number;
  readonly tally: Tally;
}

/** For messages. */
function nameOf({ threshold, scheme }: Run): string {
  if (scheme !== undefined) return `the run by ${formatScheme(scheme)}`;
  return threshold === null ? "the 16-bit run" : `the int8 run with the threshold ${formatThreshold(threshold)}`;
}

export interface RunOptions extends DefineOptions {
  readonly thresholds: readonly Threshold[];
  readonly schemes: readonly Scheme[];
  /** Of the judged runs. */
  readonly head?: Head | undefined;
  readonly headThreshold?: Threshold | undefined;
  readonly kv?: KvType | undefined;
}

/** The 16-bit run first. Throws `OCTAVO_PLAN_DOES_NOT_FIT` before anything is allocated, and what `defineProgram` throws. */
export async function defineRuns(
  { residence, manifest, shares, window }: OpenedText,
  {
    thresholds,
    schemes,
    head = MODEL_DEFAULTS.head,
    headThreshold = MODEL_DEFAULTS.headThreshold,
    kv = MODEL_DEFAULTS.kv,
    ...options
  }: RunOptions,
): Promise<Run[]> {
  const perRun = Math.ceil(window / PAGE_SIZE);
  const chunk = Math.min(CHUNK, window);
  const limits: Sizes = { ...NO_SIZES, T: chunk, S: chunk, B: 1, J: perRun };
  const pages = perRun * (1 + thresholds.length + schemes.length);
  const shared = { ...MODEL_DEFAULTS, context: window, pages, rows: chunk, threshold: 0 } as const;
  const reference: ModelOptions = { ...shared, weights: "16bit", output: { type: "score", reference: "write" } };
  const judged = { ...shared, head, headThreshold, kv, output: { type: "score", reference: "read" } } as const;
  const models: ModelOptions[] = [
    ...thresholds.map((threshold) => ({ ...judged, threshold }) as const),
    ...schemes.map((scheme) => ({ ...judged, weights: "16bit", scheme }) as const),
  ];
  // Schemes take each weight by itself, for a scale may be of a whole weight. Without fusion the 16-bit run does too, so
  // that the weights are there once.
  const cut = [reference, ...models].map((model) => cutPrograms(manifest, model, shares));
  const programs = cut.map((ranks, run) => (run === 0 && schemes.length > 0 ? ranks : ranks.map(fuse)));
  const keeps = "eval keeps the model with 16-bit and with int8 weights";
  const instead = (missing: string) => `Judge fewer at once or shorter windows (KV of each), or free ${missing}`;
  assertRoom(residence, programs, limits, keeps, instead);
  await residence.meet(Math.max(...cut.map((ranks) => segmentBytes(ranks, limits))));
  const runs: Run[] = [];
  for (const [index, built] of programs.entries()) {
    const { group: program } = await residence.define(built, limits, options);
    const model = models[index - 1] ?? reference;
    const { scheme } = model;
    const threshold = model === reference ? null : (scheme?.threshold ?? model.threshold);
    const head = headForm(model);
    const headThreshold = head === "int8" && scheme === undefined ? model.headThreshold : null;
    const what = { threshold, head, headThreshold, kv: model.kv, ...(scheme === undefined ? {} : { scheme }) };
    runs.push({ ...what, program, firstPage: index * perRun, tally: new Tally() });
  }
  return runs;
}

/** One step. The KV pages of the run hold the chunks before it. Throws `OCTAVO_NONFINITE` if it cannot be scored. */
export async function runChunk(run: Run, chunk: Chunk, tokens: readonly number[]): Promise<void> {
  const { program, firstPage, tally } = run;
  const { from, scored } = chunk;
  const { sizes, arrays } = chunkInputs(chunk, tokens, firstPage);
  const rows = Number(program.inputs.find(({ name }) => name === "rows")!.shape[0]);
  const each = (value: (i: number) => number) => Int32Array.from({ length: rows }, (_, i) => value(i));
  const payload = packInputs(program, sizes, {
    ...arrays,
    // The number of rows is fixed; those beyond the chunk repeat its last one and are not counted.
    rows: each((i) => Math.min(i, sizes.T - 1)),
    targets: each((i) => (i < scored ? tokens[from + i + 1]! : 0)),
  });
  const result = await program.step(sizes, payload);
  const outputs = unpackOutputs(program, sizes, result.payload);
  const lost = (outputs.top1 as Int32Array).subarray(0, scored).indexOf(-1);
  if (lost >= 0) {
    // The same step once more: it writes what it has written before.
    const { nonfinite: op } = await program.step(sizes, payload, { check: true });
    const where = `${nameOf(run)}: the logits after token ${from + lost} of the text, or the 16-bit run's, are not finite`;
    throw nonfinite(op === undefined ? where : `${where}; ${blame(op)}`);
  }
  tally.add(outputs, scored, result.counters);
}
