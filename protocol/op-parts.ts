/** What several ops of the table have in common. */
import type { Operand } from "./op-spec.ts";

export const f32 = (...shape: string[]) => ({ dtypes: ["float32"], shape }) as const;
export const i32 = (...shape: string[]) => ({ dtypes: ["int32"], shape }) as const;
export const i8 = (...shape: string[]) => ({ dtypes: ["int8"], shape }) as const;
export const float = (...shape: string[]) => ({ dtypes: ["float32", "float16", "bfloat16"], shape }) as const;
export const half = (...shape: string[]) => ({ dtypes: ["float16", "bfloat16"], shape }) as const;
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

export const alikeRule = {
  relation: "dtype",
  left: "keys",
  right: "values",
  code: "OCTAVO_DTYPE_MISMATCH",
  text: "keys are {keys}, values {values}; they must be alike",
} as const;

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
