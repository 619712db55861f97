/** What a program of a model is built for. Pure. */
import type { KV_LEVELS } from "../../../protocol/ops.ts";
import type { Scheme } from "../../program/scheme.ts";
import type { Threshold } from "../../program/threshold.ts";

export type Head = "auto" | "int8" | "16bit";
export type KvType = keyof typeof KV_LEVELS;

export interface ModelOptions {
  readonly weights: "int8" | "16bit";
  /** The output layer. "auto" is what `weights` is: `headForm`. */
  readonly head: Head;
  readonly threshold: Threshold;
  /** Of an int8 output layer. */
  readonly headThreshold: Threshold;
  /** Linears (with `head: "int8"` the output layer too) quantise their 16-bit weights at each step; `weights` is "16bit". */
  readonly scheme?: Scheme | undefined;
  /** Count the inputs of linears that are at least this large, for `inspect`: in states `<linears>.outliers` and `.largest`. */
  readonly observe?: number | undefined;
  /** Rows of the rope tables: positions a sequence may reach. */
  readonly context: number;
  /** KV pages. */
  readonly pages: number;
  /** Size of `sampled`; for `score`, the fixed number of rows that a step judges. */
  readonly rows: number;
  /** Integers that K and V are kept in. */
  readonly kv: KvType;
  readonly output:
    | { readonly type: "sample"; readonly logits?: boolean }
    | { readonly type: "logits" }
    | { readonly type: "score"; readonly reference?: "write" | "read" };
}

/** int8 wherever the other linears are: every head that a family builds can be, and 16-bit weights are for comparison. */
export function headForm({ head, weights }: Pick<ModelOptions, "head" | "weights">): "int8" | "16bit" {
  return head === "auto" ? weights : head;
}
