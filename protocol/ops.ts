/**
 * The op table: the one source for what a program may contain.
 *
 * TypeScript infers and checks shapes from it (`ts/program`), Python validates from its generated form
 * (`kernels/octavo_kernels/generated/ops.py`), the C++ backend decodes with a generated header
 * (`kernels/octavo_kernels/cpu/src/generated/ops.h`), and `docs/ops.md` is printed from it. Ops that passes make of others:
 * `fused-ops.ts`; what several ops have in common: `op-parts.ts`.
 * After a change run `npm run generate`; a stale generated file fails the tests.
 */
import { FUSED_OPS } from "./fused-ops.ts";
import {
  activationAttribute,
  depthRules,
  digitOutputs,
  f32,
  float,
  i8,
  i32,
  kvAttributes,
  kvPages,
  kvRules,
  mutated,
  normAttributes,
  optional,
  packed,
  quantizeAttributes,
  ropeAttributes,
  ropeRules,
  shapeRule,
  vocabularyRules,
} from "./op-parts.ts";
import type { OpSpec } from "./op-spec.ts";

export { KV_LEVELS } from "./op-parts.ts";
export {
  type Attribute,
  BYTES_PER_ELEMENT,
  DTYPES,
  type DType,
  LAYOUTS,
  type Layout,
  type Operand,
  type OpSpec,
  type Rule,
} from "./op-spec.ts";

export const OPS = {
  embed: {
    summary: "Gather rows of a table by token id.",
    formula:
      "y[t] = scale * table[id], id = tokens[t] >= 0 ? tokens[t] : sampled[-1 - tokens[t]]; NaN where that is -1 (see sample)",
    inputs: { tokens: i32("T"), table: packed(float("V", "K")), sampled: optional(i32("R")) },
    outputs: { y: f32("T", "K") },
    attributes: { scale: { type: "number", default: 1 } },
    rules: vocabularyRules,
  },
  cast: {
    summary: "Convert the element type, rounding to nearest even.",
    formula: "y = dtype(x)",
    inputs: { x: float("T", "K") },
    outputs: { y: float("T", "K") },
    attributes: { dtype: { type: "enum", values: ["float32", "float16", "bfloat16"], default: "float32" } },
    rules: [
      {
        relation: "dtype",
        left: "y",
        right: "dtype",
        code: "OCTAVO_DTYPE_MISMATCH",
        text: "y is {y}, but the attribute dtype says {dtype}",
      },
    ],
  },
  norm: {
    summary: "RMS or layer normalisation of each row.",
    formula: "rms: y = x / sqrt(mean(x^2) + eps) * w; layer: y = (x - mean) / sqrt(var + eps) * w + b",
    inputs: { x: f32("T", "K"), weight: float("K"), bias: optional(float("K")) },
    outputs: { y: f32("T", "K") },
    attributes: normAttributes,
  },
  // A rank that has only some columns of x (a multiple of 64, but for the last rank's) puts collectives between these three:
  // it gathers the statistics of all ranks, in the order of their columns, and takes the largest of their inliers. Digits
  // of its columns then are those of the whole row.
  row_statistics: {
    summary:
      "What a row's step needs to know of each 64 columns: the largest magnitude, the sum of magnitudes, the sum of squares.",
    formula:
      "statistics[t, j] = max |x|, sum |x|, sum x^2 of columns 64j .. 64j + 63; the maximum is NaN where a number is",
    inputs: { x: f32("T", "K") },
    outputs: { statistics: f32("T", "blocks(K)", "3") },
    attributes: {},
  },
  row_inliers: {
    summary: "The largest magnitude among a row's inliers.",
    formula:
      "inliers[t] = max |x| over these columns where |x| is below the threshold, which the whole row decides; 0 without one",
    inputs: { x: f32("T", "K"), statistics: f32("T", "blocks(columns)", "3") },
    outputs: { inliers: f32("T") },
    attributes: {
      ...quantizeAttributes,
      /** Of the whole row, to which the statistics belong: K, or more where x has only some of its columns. */
      columns: { type: "integer", min: 1, max: 2147483647 },
    },
  },
  quantize_digits: {
    summary: "Rows to base-255 int8 digits with the step that the whole row's statistics and largest inlier give.",
    formula: "v = rint(x * inverse), high = rint(v / 255), low = v - 255 * high",
    inputs: { x: f32("T", "K"), statistics: f32("T", "M", "3"), inliers: f32("T") },
    outputs: digitOutputs,
    attributes: {},
  },
  quantize_weight: {
    summary: "Weight rows to int8 codes and one absmax scale per row.",
    formula: "scale[n] = max_k |w[n,k]|, codes = rint(w * (127 / scale))",
    inputs: { weight: float("N", "K") },
    outputs: { codes: packed(i8("N", "K")), scale: f32("N") },
    attributes: {},
  },
  // Between these two a rank that has only some of the K columns adds up the sums of all ranks.
  multiply_int8: {
    summary: "Product of digits with an int8 weight: one exact int32 sum per output.",
    formula: "sums[m,n] = 255 * sum high*c + sum low*c",
    inputs: {
      low: digitOutputs.low,
      high: digitOutputs.high,
      carries: digitOutputs.carries,
      weight: packed(i8("N", "K")),
    },
    outputs: { sums: i32("T", "N") },
    attributes: {},
  },
  dequantize: {
    summary: "Sums of products of digits and codes to numbers.",
    formula: "y[m,n] = fma(float(sums[m,n]) * step[m], scale[n] / 127, bias[n])",
    inputs: { sums: i32("T", "N"), step: f32("T"), scale: f32("N"), bias: optional(f32("N")) },
    outputs: { y: f32("T", "N") },
    attributes: {},
  },
  linear_published: {
    summary:
      "LLM.int8() as the paper and bitsandbytes run it: outlier columns are the union over the rows of a call, in 16-bit floats.",
    formula:
      "y = (rint(x/s) c) * s/127 * scale/127 over inlier columns + half(x) half(w) over outlier columns + bias; depends on the batch, unlike linear_int8",
    inputs: { x: f32("T", "K"), weight: packed(i8("N", "K")), scale: f32("N"), bias: optional(f32("N")) },
    outputs: { y: f32("T", "N") },
    attributes: { threshold: { type: "number", min: 0, default: 6 } },
    rules: depthRules,
  },
  linear_float: {
    summary: "Product with a 16- or 32-bit weight, one fma chain per output in ascending k.",
    formula: "y[m,n] = bias[n] + sum_k fma(x[m,k], w[n,k])",
    inputs: { x: f32("T", "K"), weight: packed(float("N", "K")), bias: optional(f32("N")) },
    outputs: { y: f32("T", "N") },
    attributes: {},
  },
  linear_scheme: {
    summary:
      "A linear by one of the int8 schemes of the LLM.int8() paper's Table 1: weight and activations are quantised at each call.",
    formula:
      "y = float(sum (q + zx)(c + zw)) * ux * (uw / r) over inlier columns + half(x) half(w) over outlier columns + bias; depends on the batch, as linear_published; docs/numerics.md",
    inputs: { x: f32("T", "K"), weight: packed(float("N", "K")), bias: optional(f32("N")) },
    outputs: { y: f32("T", "N") },
    attributes: {
      /** absmax: -127..127 is -max |x| .. max |x|. zeropoint: -127..127 is min(0, min x) .. max(0, max x). */
      codes: { type: "enum", values: ["absmax", "zeropoint"], default: "absmax" },
      /** What shares a scale. tensor: all of x, all of w. row: a row of x, all of w. vector: a row of x, a row of w (an output). */
      scope: { type: "enum", values: ["tensor", "row", "vector"], default: "vector" },
      /** Columns with |x| >= threshold in any row of the call are multiplied in 16-bit floats; 0: none. */
      threshold: { type: "number", min: 0, default: 0 },
    },
    rules: depthRules,
  },
  rope: {
    summary: "Rotary position embedding; frequencies and scaling come as tables.",
    formula: "(a, b) -> (a*cos - b*sin, b*cos + a*sin) with the row `positions[t]` of the tables",
    inputs: { x: f32("T", "W"), positions: i32("T"), cos: f32("P", "R"), sin: f32("P", "R") },
    outputs: { y: f32("T", "W") },
    attributes: ropeAttributes,
    rules: ropeRules,
  },
  append: {
    summary: "Write each token's K and V into its slot of the KV pages: integers, and a step for each row of a head.",
    formula:
      "slot = page * 16 + offset; step = max |x| / most, rint(x * (most / max |x|)); most of int16 pages: 4095 for k, 2047 for v; of int8: 127; a row that is not finite has the step NaN; docs/numerics.md",
    inputs: {
      k: f32("T", "kvHeads*headDim"),
      v: f32("T", "kvHeads*headDim"),
      slots: i32("T"),
      keys: mutated(kvPages.keys),
      values: mutated(kvPages.values),
      steps: mutated(kvPages.steps),
    },
    outputs: {},
    attributes: kvAttributes,
    rules: kvRules,
  },
  attention: {
    summary:
      "Attention over KV pages: exact integer sums in each block of 128 keys, blocks in ascending order, whatever the batch or the layout.",
    formula:
      "y[t] = softmax(scale * q k^T + ...) v over the keys that query t sees; query i of sequence b has position lengths[b] - queries(b) + i; docs/numerics.md",
    inputs: {
      q: f32("T", "heads*headDim"),
      ...kvPages,
      /** Page of keys 16j..16j+15 of sequence b at [b, j]. */
      pages: i32("B", "J"),
      /** Keys of each sequence, this step's included. */
      lengths: i32("B"),
      /** First query row of each sequence, and T at the end. */
      starts: i32("B+1"),
      /** ALiBi: slope * (key - query) is added to scores. */
      slopes: optional(f32("heads")),
      /** By distance: bias[h, clamp(key - query + R // 2, 0, R - 1)] is added to scores. */
      bias: optional(f32("heads", "R")),
    },
    outputs: { y: f32("T", "heads*headDim") },
    attributes: {
      heads: { type: "integer", min: 1, max: 1024 },
      ...kvAttributes,
      scale: { type: "number", min: 0 },
      /** A query sees the keys up to its own position; else those after it too. */
      causal: { type: "boolean", default: true },
      /** Keys less than this far from the query are seen, itself included; 0 is all. */
      window: { type: "integer", min: 0, max: 2147483647, default: 0 },
      /** cap * tanh(score / cap); 0 is off. */
      softcap: { type: "number", min: 0, default: 0 },
    },
    rules: [
      {
        relation: "multiple",
        left: "heads",
        right: "kvHeads",
        code: "OCTAVO_BAD_ARGUMENT",
        text: "{heads} heads cannot share {kvHeads} kv heads evenly",
      },
      ...kvRules,
    ],
  },
  glu: {
    summary: "Gated activation.",
    formula: "y = activation(gate) * up",
    inputs: { gate: f32("T", "K"), up: f32("T", "K") },
    outputs: { y: f32("T", "K") },
    attributes: activationAttribute,
  },
  activate: {
    summary: "Activation.",
    formula: "y = activation(x)",
    inputs: { x: f32("T", "K") },
    outputs: { y: f32("T", "K") },
    attributes: activationAttribute,
  },
  add: {
    summary: "Elementwise sum (the residual).",
    formula: "y = a + b",
    inputs: { a: f32("T", "K"), b: f32("T", "K") },
    outputs: { y: f32("T", "K") },
    attributes: {},
  },
  rows: {
    summary: "Pick rows.",
    formula: "y[s] = x[index[s]]",
    inputs: { x: f32("T", "K"), index: i32("S") },
    outputs: { y: f32("S", "K") },
    attributes: {},
  },
  // Between ops whose columns ranks share: each has only its own results, all need the whole row.
  gather: {
    summary:
      "Columns of all ranks of a stage of the program's group, side by side, on every rank; numbers are copied, never added.",
    formula: "y[t] = x of its rank 0 [t], x of rank 1 [t], ...; this rank's are y[t, first .. first + K - 1]",
    inputs: { x: f32("T", "K") },
    outputs: { y: f32("T", "columns") },
    attributes: {
      /** Of all ranks together. */
      columns: { type: "integer", min: 1, max: 2147483647 },
      /** How many columns the ranks before this one have. */
      first: { type: "integer", min: 0, max: 2147483647, default: 0 },
    },
    rules: [shapeRule("K", "at most", "columns", "{K} columns are more than the {columns} of all ranks")],
  },
  // Between ops that stages share: each has some of the layers, and the ranks of a stage have the same rows.
  send: {
    summary: "Rows to all ranks of the group's next stage, which `receive` them; the first rank of a stage sends.",
    formula: "y of `receive` = x",
    inputs: { x: f32("T", "K") },
    outputs: {},
    attributes: {},
  },
  receive: {
    summary: "The rows that the group's stage before this one sends, on every rank.",
    formula: "y = x of `send`",
    /** `like`: what there is a row for each element of; its numbers are not looked at. */
    inputs: { like: i32("T") },
    outputs: { y: f32("T", "columns") },
    attributes: {
      columns: { type: "integer", min: 1, max: 2147483647 },
    },
  },
  sample: {
    summary:
      "Draw one id per row; random numbers come from a counter (seed, position), so a resumed request continues alike.",
    formula:
      "docs/numerics.md: bias, penalties, mask, temperature, top-k, top-p, min-p, inverse CDF; temperature 0 is argmax (lowest id wins); -1 where logits are not finite",
    inputs: {
      logits: f32("S", "V"),
      /** Per row: temperature, top-p, min-p, repetition, presence, frequency penalty. Neutral: 1, 1, 0, 1, 0, 0. */
      settings: f32("S", "6"),
      /**
       * Per row: top-k (0 is all), seed low, seed high, position, logprobs wanted (0..20; -1 none at all), mask row (-1
       * none), how many ids of its history come before the answer: for these only the repetition penalty counts.
       */
      counters: i32("S", "7"),
      /** Ids the penalties count: row s owns history[historyStarts[s] .. historyStarts[s+1]); negative as in `embed`. */
      historyStarts: i32("S+1"),
      history: i32("H"),
      biasStarts: i32("S+1"),
      biasIds: i32("D"),
      biasValues: f32("D"),
      /** Bit i of word i/32 set: id i is allowed. */
      masks: i32("Q", "maskWords"),
      sampled: mutated(i32("R")),
    },
    outputs: {
      ids: i32("S"),
      /** Of the drawn id, from the unmodified logits. NaN when not wanted. */
      logprob: f32("S"),
      topIds: i32("S", "20"),
      topLogprobs: f32("S", "20"),
    },
    attributes: { maskWords: { type: "integer", min: 1, max: 1048576 } },
    rules: [
      ...vocabularyRules,
      shapeRule("V", "at most", "32*maskWords", "masks of {maskWords} words cannot hold {V} ids"),
    ],
  },
  pool: {
    summary: "One embedding per sequence.",
    formula: "mean or last of a sequence's rows, then y / ||y|| when normalize",
    inputs: { x: f32("T", "K"), starts: i32("B+1") },
    outputs: { y: f32("B", "K") },
    attributes: {
      kind: { type: "enum", values: ["mean", "last"], default: "mean" },
      normalize: { type: "boolean", default: true },
    },
  },
  score: {
    summary: "Judge logits: surprise of the target, divergence from reference logits, agreement of the first choice.",
    formula:
      "nll = -log softmax(logits)[target], kl = sum softmax(reference) * (log softmax(reference) - log softmax(logits)); NaN, NaN and top1 -1 where either is not finite",
    inputs: { logits: f32("S", "V"), targets: i32("S"), reference: optional(f32("S", "V")) },
    outputs: { nll: f32("S"), kl: f32("S"), top1: i32("S") },
    attributes: {},
    rules: vocabularyRules,
  },
  observe_outliers: {
    summary: "Count each column's outliers over steps, and keep its largest magnitude.",
    formula: "counts[k] += rows with |x[t,k]| >= threshold; largest[k] = max(largest[k], |x[t,k]|); NaN is neither",
    inputs: { x: f32("T", "K"), counts: mutated(i32("K")), largest: mutated(f32("K")) },
    outputs: {},
    attributes: { threshold: { type: "number", min: 0, default: 6 } },
  },
  ...FUSED_OPS,
} as const satisfies Record<string, OpSpec>;

export type OpName = keyof typeof OPS;

/** A packed weight is cut into panels of this many rows; int8 panels also into groups of this many columns. */
export const PACKED_ROWS = 16;
export const PACKED_COLUMNS = 64;
/** Positions per KV page; the `16` in the shapes above. */
export const PAGE_SIZE = 16;
/** Keys per block of `attention`. */
export const ATTENTION_BLOCK = 128;
/** Most `topLogprobs` per row. */
export const MAX_LOGPROBS = 20;
