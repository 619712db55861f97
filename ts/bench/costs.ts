/** What an op has to do at given sizes: bytes that must move and operations that must be made, whatever the kernel. */
import type { Sizes } from "../../protocol/messages.ts";
import { BYTES_PER_ELEMENT, PAGE_SIZE } from "../../protocol/ops.ts";
import type { Dimension, Operation, Parameter, Program, Value } from "../program/program.ts";
import { allocatedBytes } from "../program/tensor-bytes.ts";

export interface Cost {
  /** Read and written, each operand once. */
  readonly bytes: number;
  /** Multiplications and additions, two per product. */
  readonly int8Operations: number;
  readonly float32Operations: number;
}

/** `keys`: keys that all queries of the step look at, summed over queries. */
export function operationCost(program: Program, operation: Operation, sizes: Sizes, keys: number): Cost {
  const value = (name: string): Value => program.values[operation.inputs[name]!]!;
  const operands = [...Object.entries(operation.inputs), ...Object.entries(operation.outputs)];
  let bytes = 0;
  for (const [name, id] of operands) {
    if (!GATHERED.has(`${operation.op}.${name}`)) bytes += bytesOf(program.values[id]!, sizes);
  }
  const rows = sizes.T;
  switch (operation.op) {
    case "linear_int8":
      return {
        bytes,
        int8Operations: 2 * size(value("low"), sizes, 0) * elements(value("weight"), sizes),
        ...NO_FLOAT,
      };
    case "linear_float":
      return { bytes, float32Operations: 2 * size(value("x"), sizes, 0) * elements(value("weight"), sizes), ...NO_INT };
    case "embed":
      return { bytes: bytes + rows * size(value("table"), sizes, 1) * width(value("table")), ...NO_INT, ...NO_FLOAT };
    case "append":
    case "rope_append":
      return { bytes: bytes + 2 * rows * size(value("k"), sizes, 1) * width(value("keys")), ...NO_INT, ...NO_FLOAT };
    case "attention": {
      const { heads, kvHeads, headDim } = operation.attributes as Record<string, number>;
      // Pages are read once per sequence and head group; with one query per sequence that is once per query.
      const pages = Math.min(keys, sizes.B * sizes.J * PAGE_SIZE) * kvHeads! * headDim! * 2 * width(value("keys"));
      return { bytes: bytes + pages, float32Operations: 4 * keys * heads! * headDim!, ...NO_INT };
    }
    default:
      return { bytes, ...NO_INT, ...NO_FLOAT };
  }
}

/** Bytes of weights that a step reads, each once, however many rows it has: what decoding streams from memory. */
export function weightBytes({ ops, values, parameters }: Program): number {
  const read = new Set<Parameter>();
  for (const { op, inputs } of ops) {
    for (const [name, id] of Object.entries(inputs)) {
      const { place } = values[id]!;
      if (place.type !== "parameter" || GATHERED.has(`${op}.${name}`)) continue;
      const parameter = parameters.get(place.name)!;
      if (parameter.source.type !== "state") read.add(parameter);
    }
  }
  return [...read].reduce((sum, { dtype, layout, shape }) => sum + allocatedBytes(dtype, layout, shape), 0);
}

/** Operands of which a step touches only some rows. */
const GATHERED = new Set([
  "embed.table",
  "rope.cos",
  "rope.sin",
  "rope_append.cos",
  "rope_append.sin",
  "append.keys",
  "append.values",
  "rope_append.keys",
  "rope_append.values",
  "attention.keys",
  "attention.values",
]);
const NO_INT = { int8Operations: 0 } as const;
const NO_FLOAT = { float32Operations: 0 } as const;

const width = (value: Value): number => BYTES_PER_ELEMENT[value.dtype];
const size = (value: Value, sizes: Sizes, axis: number): number => resolve(value.shape[axis]!, sizes);
const elements = (value: Value, sizes: Sizes): number => value.shape.reduce<number>((n, d) => n * resolve(d, sizes), 1);
const bytesOf = (value: Value, sizes: Sizes): number => elements(value, sizes) * width(value);

function resolve(dimension: Dimension, sizes: Sizes): number {
  if (typeof dimension === "number") return dimension;
  const symbol = dimension[0] as keyof Sizes;
  return dimension.endsWith("+1") ? sizes[symbol] + 1 : sizes[symbol];
}
