/**
 * A model as data. A `Program` is a list of ops over values; passes are functions Program -> Program.
 * `lower` turns it into the `define` message; see `protocol/messages.ts`.
 */
import type { DType, Layout, OpName } from "../../protocol/ops.ts";
import type { SizeSymbol } from "../../protocol/sizes.ts";

/** A number, or a size known only at each step. */
export type Dimension = number | SizeSymbol;

declare const valueBrand: unique symbol;
/** Index into `Program.values`; not a number to calculate with. */
export type ValueId = number & { readonly [valueBrand]: true };

export type Place =
  /** A parameter: bound to a tensor handle by name when the program is lowered (weights, tables, KV pages, `sampled`). */
  | { readonly type: "parameter"; readonly name: string }
  /** Brought by each step, under its name. */
  | { readonly type: "input"; readonly name: string }
  /** An intermediate. `offset` (bytes in the arena) is set by the `arena` pass. */
  | { readonly type: "intermediate"; readonly offset?: number | undefined }
  /** Columns of another value, without a copy. */
  | { readonly type: "columns"; readonly of: ValueId; readonly column: number };

export interface Value {
  readonly dtype: DType;
  readonly layout: Layout;
  readonly shape: readonly Dimension[];
  readonly place: Place;
  /** For messages and reports: "layers.3.attention.q". */
  readonly label: string;
}

export type AttributeValue = number | boolean | string;

export interface Operation {
  readonly op: OpName;
  readonly inputs: Readonly<Record<string, ValueId>>;
  readonly outputs: Readonly<Record<string, ValueId>>;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** For messages: "model.layers.3.self_attn.append". */
  readonly label: string;
}

/** From the first one taken to the first one behind them. */
export type Range = readonly [from: number, to: number];

/**
 * What a parameter takes of a tensor of the manifest, in elements; absent: all. `columns` run over the tensor's last dimension,
 * `rows` over all others, flattened: expert e of a stack [E, N, K] has the rows [e * N, (e + 1) * N). A vector is one row.
 */
export interface TensorPart {
  readonly tensor: string;
  readonly rows?: Range | undefined;
  readonly columns?: Range | undefined;
}

/** How a parameter comes to be: loaded from files, or written by the orchestrator. */
export type ParameterSource =
  /**
   * These parts, stacked by rows. `int8`: codes under this parameter, scales under parameter `scale`; scales are those of the
   * tensor's whole rows, so that slices computed apart add up to the whole.
   */
  | {
      readonly type: "tensors";
      readonly parts: readonly TensorPart[];
      readonly form: "int8" | "float";
      readonly scale?: string | undefined;
    }
  /** The scales of an int8 parameter; written by its load. */
  | { readonly type: "scale"; readonly of: string }
  /** Values computed in TypeScript (rope tables, ALiBi slopes). */
  | { readonly type: "constant"; readonly data: Float32Array | Int32Array }
  /** KV pages and the ids sampled last: zeroed memory, sized by the plan. */
  | { readonly type: "state"; readonly kind: "kv" | "io" };

export interface Parameter {
  readonly name: string;
  readonly dtype: DType;
  readonly layout: Layout;
  readonly shape: readonly number[];
  readonly source: ParameterSource;
}

export interface Program {
  readonly values: readonly Value[];
  readonly ops: readonly Operation[];
  /** Values that each step brings, in the order of the step's payload. */
  readonly inputs: readonly ValueId[];
  /** Values that each step returns, likewise, by name. */
  readonly outputs: readonly { readonly name: string; readonly value: ValueId }[];
  readonly parameters: ReadonlyMap<string, Parameter>;
}
