/** What an op has to do at given sizes: bytes that must move and operations that must be made, whatever the kernel. */
import type { Sizes } from "../../protocol/messages.ts";
import { BYTES_PER_ELEMENT, PAGE_SIZE } from "../../protocol/ops.ts";
import type { Operation, Parameter, Program, Value } from "../program/program.ts";
import { elementsOf, shapeAt } from "../program/shapes.ts";
import { allocatedBytes, contentBytes } from "../program/tensor-bytes.ts";

export interface Cost {
  /** Read and written, each operand once. */
  readonly bytes: number;
  /** Multiplications and additions, two per product. */
  readonly int8Operations: number;
  /** Of integers of more than 8 bits: processors make half as many. */
  readonly int16Operations: number;
  readonly float32Operations: number;
}

/** `keys`: keys that all queries of the step look at, summed over queries. */
export function operationCost(program: Program, operation: Operation, sizes: Sizes, keys: number): Cost {
  const value = (name: string): Value => program.values[operation.inputs[name]!]!;
  const size = (name: string, axis: number): number => shapeAt(value(name).shape, sizes)[axis]!;
  const elements = (name: string): number => elementsOf(value(name).shape, sizes);
  const width = (name: string): number => BYTES_PER_ELEMENT[value(name).dtype];
  /** K and V of a token in KV pages, with their steps. */
  const rowBytes = (): number => {
    const { kvHeads, headDim } = operation.attributes as Record<string, number>;
    return 2 * kvHeads! * (headDim! * width("keys") + width("steps"));
  };
  const operands = [...Object.entries(operation.inputs), ...Object.entries(operation.outputs)];
  let bytes = 0;
  for (const [name, id] of operands) {
    const { dtype, shape } = program.values[id]!;
    if (!GATHERED.has(`${operation.op}.${name}`)) bytes += contentBytes(dtype, shapeAt(shape, sizes));
  }
  const none = { bytes, int8Operations: 0, int16Operations: 0, float32Operations: 0 };
  switch (operation.op) {
    case "linear_int8":
      return { ...none, int8Operations: 2 * size("low", 0) * elements("weight") };
    case "linear_float":
      return { ...none, float32Operations: 2 * size("x", 0) * elements("weight") };
    case "embed":
      return { ...none, bytes: bytes + sizes.T * size("table", 1) * width("table") };
    case "append":
    case "rope_append":
      return { ...none, bytes: bytes + sizes.T * rowBytes() };
    case "attention": {
      const { heads, headDim } = operation.attributes as Record<string, number>;
      // Pages are read once per sequence and head group; with one query per sequence that is once per query.
      const pages = Math.min(keys, sizes.B * sizes.J * PAGE_SIZE) * rowBytes();
      return { ...none, bytes: bytes + pages, int16Operations: 4 * keys * heads! * headDim! };
    }
    default:
      return none;
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
  "append.steps",
  "rope_append.keys",
  "rope_append.values",
  "rope_append.steps",
  "attention.keys",
  "attention.values",
  "attention.steps",
]);
