/**
 * What an entry of the op table says.
 *
 * A dimension is an expression: a product (`heads*headDim`) of shape symbols (upper case: `T`, `K`), attribute names
 * (lower case), integers, and three functions of a symbol or an attribute: `pad64(K)` (K rounded up to a multiple of 64),
 * `blocks(K)` (how many blocks of 64 columns a row has, at least one) and `carryWords(K)` (4 + pad64(K)/4 + pad64(K) - K).
 * Symbols are bound by the first operand that shows them and must agree afterwards. What a padded or packed form hides is
 * part of its type: no two K have the same `pad64` and `carryWords`, so digits of 63 columns do not pass for digits of 64;
 * a packed weight keeps the shape [N, K].
 */

export const DTYPES = ["float32", "float16", "bfloat16", "int8", "int16", "int32", "int64"] as const;
export type DType = (typeof DTYPES)[number];

export const BYTES_PER_ELEMENT: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
};

/** `plain` is row-major. `packed` is the backend's own layout of a linear weight; only `linear*` and `embed` take it. */
export const LAYOUTS = ["plain", "packed"] as const;
export type Layout = (typeof LAYOUTS)[number];

export interface Operand {
  /** Accepted dtypes. */
  readonly dtypes: readonly DType[];
  readonly shape: readonly string[];
  readonly optional?: true;
  /** The op writes into this input (KV pages, the sampled ids); it keeps its place and its dtype. */
  readonly mutated?: true;
  /** Layouts accepted beside `plain`. */
  readonly packed?: true;
}

export type Attribute =
  | { readonly type: "number"; readonly min?: number; readonly max?: number; readonly default?: number }
  | { readonly type: "integer"; readonly min: number; readonly max: number; readonly default?: number }
  | { readonly type: "boolean"; readonly default?: boolean }
  | { readonly type: "enum"; readonly values: readonly string[]; readonly default?: string };

/**
 * What must hold beyond dtypes and shapes. `left` and `right` are dimension expressions, whose sizes must be fixed
 * (`multiple`: left is one of right); for `dtype` operands, or an attribute that says a dtype. `text` is the error's, with
 * what stands in braces evaluated.
 */
export interface Rule {
  readonly relation: "multiple" | "at most" | "dtype";
  readonly left: string;
  readonly right: string;
  readonly code: "OCTAVO_BAD_ARGUMENT" | "OCTAVO_DTYPE_MISMATCH" | "OCTAVO_SHAPE_MISMATCH";
  readonly text: string;
}

export interface OpSpec {
  /** One line for the documentation. */
  readonly summary: string;
  /** The definition in one line; longer arithmetic is in `docs/numerics.md`. */
  readonly formula: string;
  readonly inputs: Readonly<Record<string, Operand>>;
  readonly outputs: Readonly<Record<string, Operand>>;
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly rules?: readonly Rule[];
  /** For a fused op: the ops it equals, bit for bit, in order. */
  readonly fuses?: readonly string[];
}
