/** What several ops of the table have in common. */
import type { Operand } from "./op-spec.ts";

export const f32 = (...shape: string[]) => ({ dtypes: ["float32"], shape }) as const;
export const i32 = (...shape: string[]) => ({ dtypes: ["int32"], shape }) as const;
export const i8 = (...shape: string[]) => ({ dtypes: ["int8"], shape }) as const;
export const float = (...shape: string[]) => ({ dtypes: ["float32", "float16", "bfloat16"], shape }) as const;
export const optional = <T extends Operand>(operand: T) => ({ ...operand, optional: true }) as const;
export const mutated = <T extends Operand>(operand: T) => ({ ...operand, mutated: true }) as const;
export const packed = <T extends Operand>(operand: T) => ({ ...operand, packed: true }) as const;

/** What `quantize` and `quantize_digits` write: base-255 digits of each row, where the carries are, and the row's step. */
export const digitOutputs = {
  low: i8("T", "pad64(K)"),
  high: i8("T", "pad64(K)"),
  /**
   * Per row: [groups with a carry, sum of low digits, sum of high digits, elements with a carry, group indices
   * ascending...]; what follows the listed groups is anything.
   */
  carries: i32("T", "carryWords(K)"),
  step: f32("T"),
} as const;

export const quantizeAttributes = {
  /** off: s = a. threshold: |x| >= absolute. adaptive: |x| >= min(absolute, relative * rms(row)). all: every element. */
  decompose: { type: "enum", values: ["off", "threshold", "adaptive", "all"], default: "adaptive" },
  absolute: { type: "number", min: 0, default: 6 },
  relative: { type: "number", min: 0, default: 6 },
} as const;

export const normAttributes = {
  kind: { type: "enum", values: ["rms", "layer"], default: "rms" },
  eps: { type: "number", min: 0, default: 1e-5 },
  /** Multiply by (1 + weight) instead of weight. */
  unitOffset: { type: "boolean", default: false },
} as const;

export const activationAttribute = {
  activation: { type: "enum", values: ["silu", "gelu", "gelu_tanh", "relu"], default: "silu" },
} as const;

export const ropeAttributes = {
  headDim: { type: "integer", min: 2, max: 1024 },
  /** half: element i pairs with i + R. interleaved: 2i pairs with 2i + 1. Only the first 2R elements of a head turn. */
  pairing: { type: "enum", values: ["half", "interleaved"], default: "half" },
} as const;

export const shapeRule = (left: string, relation: "multiple" | "at most", right: string, text: string) =>
  ({ relation, left, right, code: "OCTAVO_SHAPE_MISMATCH", text }) as const;

export const ropeRules = [
  shapeRule("W", "multiple", "headDim", "rows of {W} are not whole heads of {headDim}"),
  shapeRule("2*R", "at most", "headDim", "the tables turn {2*R} elements of heads of {headDim}"),
];

/**
 * A layer's KV pages of 16 positions. Each row of K and of V is integers times a step of its own (docs/numerics.md,
 * "append"); pairs of what attention multiplies and adds lie side by side.
 */
export const kvPages = {
  /** [headDim / 2][16 positions][2 elements] of each page and head. */
  keys: { dtypes: ["int16", "int8"], shape: ["G", "kvHeads", "16*headDim"] },
  /** [8 pairs of positions][headDim][2 positions] of each page and head. */
  values: { dtypes: ["int16", "int8"], shape: ["G", "kvHeads", "16*headDim"] },
  /** The steps of the 16 keys, then those of the 16 values. */
  steps: { dtypes: ["float32"], shape: ["G", "kvHeads", "32"] },
} as const;

/**
 * By the type of pages: the largest integers of K and V, and of q unless a score of its heads would not fit int32; and how many bits the
 * weights of values have in `attention`.
 */
export const KV_LEVELS = {
  int16: { keys: 4095, values: 2047, queries: 8191, weightBits: 13 },
  int8: { keys: 127, values: 127, queries: 32_639, weightBits: 14 },
} as const;

export const kvAttributes = {
  kvHeads: { type: "integer", min: 1, max: 1024 },
  headDim: { type: "integer", min: 2, max: 256 },
} as const;

const alikeRule = {
  relation: "dtype",
  left: "keys",
  right: "values",
  code: "OCTAVO_DTYPE_MISMATCH",
  text: "keys are {keys}, values {values}; they must be alike",
} as const;

export const kvRules = [
  alikeRule,
  shapeRule("headDim", "multiple", "2", "heads of {headDim} elements; pages hold pairs of them"),
];

export const VOCABULARY = "a vocabulary of {V}; it must be fixed, at least 1 and below 2^31: ids are int32";
export const vocabularyRules = [
  shapeRule("1", "at most", "V", VOCABULARY),
  shapeRule("V", "at most", String(2 ** 31 - 1), VOCABULARY),
];

/** Products of codes are at most 127 * 128: the dot product of some processors offsets one side by 128. */
export const MOST_DEPTH = Math.floor((2 ** 31 - 1) / (127 * 128));
export const depthRules = [
  shapeRule("K", "at most", String(MOST_DEPTH), `rows of {K}; int32 sums of products of codes hold ${MOST_DEPTH}`),
];
