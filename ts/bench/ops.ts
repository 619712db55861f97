/** Where the time of a step goes: every op timed by the worker, against what the machine could do at best. */
import type { Ceiling, Sizes } from "../../protocol/messages.ts";
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { NO_SIZES } from "../../protocol/sizes.ts";
import type { StepProgram } from "../deploy/group.ts";
import type { LoadOptions } from "../engine/load-options.ts";
import { loadModel } from "../engine/loader.ts";
import { badArgument } from "../errors.ts";
import { packInputs } from "../program/payload.ts";
import type { Program } from "../program/program.ts";
import { type Cost, operationCost } from "./costs.ts";
import { SAMPLE_TEXT } from "./sample-text.ts";
import { BATCHES, PREFILL } from "./speed.ts";

export interface OpTime {
  readonly op: string;
  /** How often a step runs it. */
  readonly calls: number;
  /** Microseconds per step, all calls together: the median over repeats. */
  readonly microseconds: number;
  /** Of the step's time. */
  readonly share: number;
  readonly gigabytesPerSecond: number;
  /** 10^9 int8 or float32 operations per second, two per product. */
  readonly gigaoperationsPerSecond: number;
  /** The larger of both as a share of the machine's ceiling: 1 is as fast as can be. */
  readonly ofCeiling: number;
}

export interface StepProfile {
  /** "decode 8": one token of each of 8 sequences. "prefill 512": one prompt. */
  readonly name: string;
  readonly tokens: number;
  readonly microseconds: number;
  /** Elements with a second digit, of those quantised. */
  readonly carries: number;
  readonly ops: readonly OpTime[];
}

export interface OpReport {
  readonly model: string;
  readonly machine: string;
  readonly isa: string;
  readonly threads: number;
  readonly ceiling: Ceiling;
  readonly steps: readonly StepProfile[];
}

export interface OpBenchOptions extends LoadOptions {
  /** Sequences of the decode steps; default 1, 8 and 32. */
  readonly batches?: readonly number[] | undefined;
  /** Tokens of the prompt; default 512. */
  readonly prefill?: number | undefined;
  /** Tokens that each sequence of a decode step has behind it; default 64. */
  readonly depth?: number | undefined;
  readonly repeats?: number | undefined;
}

const DEPTH = 64;
/** Most tokens of a step that only fills the cache. */
const CHUNK = 512;

export async function profileOps(model: string, options: OpBenchOptions = {}): Promise<OpReport> {
  const { batches = BATCHES, prefill = PREFILL, depth = DEPTH, repeats = 15, ...load } = options;
  if ((load.pipelineParallel ?? 1) > 1)
    throw badArgument("ops are timed where one program has all layers; leave pipelineParallel out");
  const sequences = Math.max(...batches);
  const context = Math.max(prefill, depth + 2);
  const loaded = await loadModel(model, {
    ...load,
    sequences,
    context,
    tokenBudget: Math.max(prefill, sequences, Math.min(depth, CHUNK)),
  });
  try {
    const { deployment } = loaded;
    const device = deployment.devices[0]!;
    const ids = loaded.tokenizer?.encode(SAMPLE_TEXT) ?? [];
    if (ids.length === 0) throw badArgument("a model without a tokenizer cannot be measured: it has no sample text");
    const programs = deployment.programs({ type: "sample" });
    const program = programs[0]!; // Of several ranks the first one's ops are timed; its waits for the others are in `gather`.
    const { group: handle } = await deployment.define(programs);
    const ceiling = await device.measure();
    const run = (name: string, step: Rows) => profile(name, program, handle, step, repeats, ceiling);
    const rowsAt = (batch: number, start: number, count: number, first = 0) =>
      rowsOf({ ids, batch, start, count, first, own: Math.ceil((depth + 1) / PAGE_SIZE) });
    const steps: StepProfile[] = [await run(`prefill ${prefill}`, rowsAt(1, 0, prefill))];
    for (let row = 0; row < sequences; row++)
      for (let start = 0; start < depth; start += CHUNK)
        await step(handle, rowsAt(1, start, Math.min(CHUNK, depth - start), row));
    for (const batch of batches) steps.push(await run(`decode ${batch}`, rowsAt(batch, depth, 1)));
    const { model: machine, isa, threads } = device.description;
    return { model, machine, isa, threads, ceiling, steps };
  } finally {
    await loaded.deployment.dispose();
  }
}

/** A step of `count` tokens of each of `batch` sequences that have `start` behind them. */
interface RowsOptions {
  /** The text, which begins again where it ends. */
  readonly ids: readonly number[];
  readonly batch: number;
  readonly start: number;
  readonly count: number;
  /** Sequence i lies in the pages from (first + i) * own on. */
  readonly first: number;
  readonly own: number;
}

interface Rows {
  readonly sizes: Sizes;
  readonly arrays: Readonly<Record<string, Int32Array | Float32Array>>;
  /** Keys looked at, summed over queries. */
  readonly keys: number;
}

function rowsOf({ ids, batch, start, count, first, own }: RowsOptions): Rows {
  const tokens = batch * count;
  const J = Math.ceil((start + count) / PAGE_SIZE);
  const page = (row: number, index: number) => (first + row) * own + index;
  const position = (t: number) => start + (t % count);
  const slot = (t: number) =>
    page(Math.floor(t / count), Math.floor(position(t) / PAGE_SIZE)) * PAGE_SIZE + (position(t) % PAGE_SIZE);
  const ints = (length: number, of: (index: number) => number) => Int32Array.from({ length }, (_, index) => of(index));
  let keys = 0;
  for (let t = 0; t < tokens; t++) keys += position(t) + 1;
  return {
    keys,
    sizes: { ...NO_SIZES, T: tokens, S: batch, B: batch, J },
    arrays: {
      tokens: ints(tokens, (t) => ids[(position(t) + first + Math.floor(t / count)) % ids.length]!),
      positions: ints(tokens, position),
      slots: ints(tokens, slot),
      pages: ints(batch * J, (index) => page(Math.floor(index / J), index % J)),
      lengths: ints(batch, () => start + count),
      starts: ints(batch + 1, (row) => row * count),
      rows: ints(batch, (row) => (row + 1) * count - 1),
      // Greedy: temperature 0, neutral penalties; no logprobs, no mask.
      settings: Float32Array.from({ length: batch * 6 }, (_, index) => [0, 1, 0, 1, 0, 0][index % 6]!),
      counters: ints(batch * 7, (index) => [0, 0, 0, 0, -1, -1, 0][index % 7]!),
      historyStarts: new Int32Array(batch + 1),
      history: new Int32Array(0),
      biasStarts: new Int32Array(batch + 1),
      biasIds: new Int32Array(0),
      biasValues: new Float32Array(0),
      masks: new Int32Array(0),
    },
  };
}

const step = (handle: StepProgram, { sizes, arrays }: Rows, profile = false) =>
  handle.step(sizes, packInputs(handle, sizes, arrays), { profile });

async function profile(
  name: string,
  program: Program,
  handle: StepProgram,
  rows: Rows,
  repeats: number,
  ceiling: Ceiling,
): Promise<StepProfile> {
  await step(handle, rows);
  const times = new Map<string, number[]>();
  const totals: number[] = [];
  let carries = 0;
  for (let repeat = 0; repeat < repeats; repeat++) {
    const result = await step(handle, rows, true);
    totals.push(result.counters.nanoseconds / 1000);
    carries = result.counters.carries / Math.max(1, result.counters.quantized);
    const sums = new Map<string, number>();
    for (const [index, { op }] of program.ops.entries())
      sums.set(op, (sums.get(op) ?? 0) + result.profile![index]! / 1000);
    for (const [op, sum] of sums) times.set(op, [...(times.get(op) ?? []), sum]);
  }
  const microseconds = median(totals);
  const ops = [...times].map(([op, all]) => {
    const calls = program.ops.filter((operation) => operation.op === op);
    const cost = calls.map((operation) => operationCost(program, operation, rows.sizes, rows.keys)).reduce(sum);
    return opTime(op, calls.length, median(all), microseconds, cost, ceiling);
  });
  ops.sort((a, b) => b.microseconds - a.microseconds);
  return { name, tokens: rows.sizes.T, microseconds, carries, ops };
}

const sum = (a: Cost, b: Cost): Cost => ({
  bytes: a.bytes + b.bytes,
  int8Operations: a.int8Operations + b.int8Operations,
  int16Operations: a.int16Operations + b.int16Operations,
  float32Operations: a.float32Operations + b.float32Operations,
});

function opTime(op: string, calls: number, microseconds: number, total: number, cost: Cost, ceiling: Ceiling): OpTime {
  const perSecond = (amount: number) => (amount / Math.max(microseconds, 1e-3)) * 1e6;
  return {
    op,
    calls,
    microseconds,
    share: microseconds / total,
    gigabytesPerSecond: perSecond(cost.bytes) / 1e9,
    gigaoperationsPerSecond: perSecond(cost.int8Operations + cost.int16Operations + cost.float32Operations) / 1e9,
    ofCeiling: Math.max(
      perSecond(cost.bytes) / ceiling.readBytes,
      perSecond(cost.int8Operations + 2 * cost.int16Operations) / ceiling.int8Operations,
      perSecond(cost.float32Operations) / ceiling.float32Operations,
    ),
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}
