/** The arrays of one step, written straight into its payload. Names and shapes: `ts/model/families`. Pure. */
import type { Sizes } from "../../protocol/messages.ts";
import { pagesFor } from "../memory/kv/pages.ts";
import type { LoweredProgram } from "../program/lower.ts";
import { inputArrays } from "../program/payload.ts";
import type { Step, StepRow } from "../schedule/sequence.ts";
import type { Request } from "./request.ts";

/** One row of a step with the request it belongs to. */
export interface RequestRow {
  readonly row: StepRow;
  readonly request: Request;
}

/** Elements of a row of `settings` and of `counters`. */
const SETTINGS = 6;
const COUNTERS = 7;

export function stepInputs(
  program: Pick<LoweredProgram, "inputs">,
  step: Step,
  rows: readonly RequestRow[],
): { readonly sizes: Sizes; readonly payload: Uint8Array } {
  const sizes = sizesOf(step, rows);
  const { payload, arrays } = inputArrays(program, sizes);
  // Every program that samples has these inputs; only two of them are floats.
  const ints = arrays as Readonly<Record<string, Int32Array>>;
  fillTokens(ints, rows, sizes);
  fillSampling(ints, arrays as Readonly<Record<string, Float32Array>>, rows);
  return { sizes, payload };
}

function sizesOf(step: Step, rows: readonly RequestRow[]): Sizes {
  let keys = 0;
  let history = 0;
  let biases = 0;
  for (const { row, request } of rows) {
    keys = Math.max(keys, row.start + row.count);
    if (row.sample < 0) continue;
    history += historyLength(row, request);
    biases += request.spec.sampling.biasIds.length;
  }
  return { T: step.tokens, S: step.samples, B: rows.length, J: pagesFor(keys), H: history, D: biases, Q: 0 };
}

/** What goes through the model: ids, positions, where K and V are written and read. */
function fillTokens(to: Readonly<Record<string, Int32Array>>, rows: readonly RequestRow[], sizes: Sizes): void {
  const { tokens, positions, slots, pages, lengths, starts, rows: drawn } = to as Readonly<TokenArrays>;
  let t = 0;
  for (const [b, { row, request }] of rows.entries()) {
    const { start, count, sample, previous, sequence } = row;
    const { prompt } = request.spec;
    starts[b] = t;
    lengths[b] = start + count;
    const own = sequence.pages!;
    own.writeTable(pages, b * sizes.J, start + count);
    for (let position = start; position < start + count; position += 1, t += 1) {
      // -1 - j: the id that the step before, which may still run, draws in its row j.
      if (previous >= 0) tokens[t] = -1 - previous;
      else tokens[t] = position < prompt.length ? prompt[position]! : request.ids[position - prompt.length]!;
      positions[t] = position;
      slots[t] = own.slot(position);
    }
    if (sample >= 0) drawn[sample] = t - 1;
  }
  starts[rows.length] = t;
}

/** How tokens are drawn. Sampled rows are numbered in the order of `rows`. */
function fillSampling(
  to: Readonly<Record<string, Int32Array>>,
  floats: Readonly<Record<string, Float32Array>>,
  rows: readonly RequestRow[],
): void {
  const { counters, historyStarts, history, biasStarts, biasIds } = to as Readonly<SamplingArrays>;
  const { settings, biasValues } = floats as Readonly<{ settings: Float32Array; biasValues: Float32Array }>;
  let historyEnd = 0;
  let biasEnd = 0;
  for (const { row, request } of rows) {
    const { sample } = row;
    if (sample < 0) continue;
    const { sampling } = request.spec;
    settings.set(sampling.settings, sample * SETTINGS);
    const at = sample * COUNTERS;
    counters[at] = sampling.topK;
    counters[at + 1] = sampling.seedLow;
    counters[at + 2] = sampling.seedHigh;
    counters[at + 3] = row.start + row.count; // Position of the token that is drawn.
    counters[at + 4] = sampling.logprobs;
    counters[at + 5] = -1; // No mask.
    counters[at + 6] = sampling.history === "all" ? request.spec.prompt.length : 0;
    historyEnd = fillHistory(history, historyEnd, row, request);
    historyStarts[sample + 1] = historyEnd;
    biasIds.set(sampling.biasIds, biasEnd);
    biasValues.set(sampling.biasValues, biasEnd);
    biasEnd += sampling.biasIds.length;
    biasStarts[sample + 1] = biasEnd;
  }
}

function historyLength(row: StepRow, request: Request): number {
  const { sampling, prompt } = request.spec;
  if (sampling.history === "none") return 0;
  return row.start + row.count - (sampling.history === "all" ? 0 : prompt.length);
}

function fillHistory(history: Int32Array, from: number, row: StepRow, request: Request): number {
  const length = historyLength(row, request);
  if (length === 0) return from;
  const { sampling, prompt } = request.spec;
  let at = from;
  if (sampling.history === "all") {
    history.set(prompt, at);
    at += prompt.length;
  }
  const end = from + length;
  // The newest token may not be known yet; then it is in `sampled` as well.
  const known = row.previous >= 0 ? end - 1 : end;
  for (let index = 0; at < known; index += 1, at += 1) history[at] = request.ids[index]!;
  if (row.previous >= 0) history[end - 1] = -1 - row.previous;
  return end;
}

type TokenArrays = Record<"tokens" | "positions" | "slots" | "pages" | "lengths" | "starts" | "rows", Int32Array>;
type SamplingArrays = Record<"counters" | "historyStarts" | "history" | "biasStarts" | "biasIds", Int32Array>;
