/**
 * What ops do with columns, as a table: which of their operands may be a part of the whole, and which parts belong together.
 *
 * An axis of an op is something that it handles piece by piece: the numbers that it computes of one piece depend on that piece
 * of the operands named here, and on all of every other operand. So a rank that has a part of an axis computes that part of
 * the results to the bit as one that has all. An op that is not in the table takes whole operands, which is always right.
 */
import type { OpName } from "../../../protocol/ops.ts";
import type { AttributeValue } from "../program.ts";

/** Of one op. An attribute that is called as an axis counts its pieces. */
export type Axis = "columns" | "heads" | "kvHeads";

/** Where an operand has an axis. */
export interface Place {
  readonly axis: Axis;
  readonly dimension: number;
  /** The attribute that says how many elements of the dimension belong to one piece; absent: one. */
  readonly per?: "headDim";
}

/** By operand, inputs and outputs alike; those that are not here are always whole. */
export type ColumnRule = Readonly<Record<string, Place>>;

const columns = (dimensions: Readonly<Record<string, number>>): ColumnRule =>
  Object.fromEntries(
    Object.entries(dimensions).map(([name, dimension]) => [name, { axis: "columns", dimension }] as const),
  );

/** Each output is a row of the weight, with its scale and its bias, times all of x. */
const linear = columns({ weight: 0, scale: 0, bias: 0, y: 1 });

const heads = { axis: "heads", dimension: 1, per: "headDim" } as const;
const kvHeads = { axis: "kvHeads", dimension: 1, per: "headDim" } as const;
/** [pages, kvHeads, ...] */
const pages = { axis: "kvHeads", dimension: 1 } as const;

const RULES: { readonly [op in OpName]?: ColumnRule } = {
  embed: columns({ table: 1, y: 1 }),
  cast: columns({ x: 1, y: 1 }),
  rows: columns({ x: 1, y: 1 }),
  activate: columns({ x: 1, y: 1 }),
  glu: columns({ gate: 1, up: 1, y: 1 }),
  multiply_int8: columns({ weight: 0, sums: 1 }),
  dequantize: columns({ sums: 1, scale: 0, bias: 0, y: 1 }),
  linear_int8: linear,
  linear_published: linear,
  linear_float: linear,
  linear_scheme: linear,
  rope: { x: heads, y: heads },
  append: { k: kvHeads, v: kvHeads, keys: pages, values: pages, steps: pages },
  attention: {
    q: heads,
    y: heads,
    slopes: { axis: "heads", dimension: 0 },
    bias: { axis: "heads", dimension: 0 },
    keys: pages,
    values: pages,
    steps: pages,
  },
};

const NONE: ColumnRule = {};

/** What an op with these attributes does with columns. */
export function columnRule(op: OpName, attributes: Readonly<Record<string, AttributeValue>>): ColumnRule {
  // A scale over all of the weight belongs to no row of it.
  if (op === "linear_scheme" && attributes.scope !== "vector") return NONE;
  return RULES[op] ?? NONE;
}
