/** What a program of a model is built for. Pure. */
import type { KV_LEVELS } from "../../../protocol/ops.ts";
import type { Scheme } from "../../program/scheme.ts";
import type { Threshold } from "../../program/threshold.ts";

export type KvType = keyof typeof KV_LEVELS;

export interface ModelOptions {
  readonly weights: "int8" | "16bit";
  readonly head: "16bit" | "int8";
  readonly threshold: Threshold;
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
