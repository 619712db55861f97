/**
 * Program -> the `define` message: values with handles and arena offsets, ops with typed attributes.
 * The passes in order: build -> `shard` (one program per rank) -> `fuse` -> `arena` -> `lower`.
 */
import type {
  RequestMessage,
  Sizes,
  WireAttribute,
  WireDimension,
  WireOperation,
  WireValue,
} from "../../protocol/messages.ts";
import { type Attribute, type DType, OPS } from "../../protocol/ops.ts";
import { arena } from "./arena.ts";
import type { AttributeValue, Dimension, Operation, Place, Program } from "./program.ts";

type DefineMessage = Extract<RequestMessage, { kind: "define" }>;

/** One array of a step's payload. */
export interface PayloadArray {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dimension[];
}

export interface LoweredProgram {
  /** What `define` sends, without what the device adds. */
  readonly message: Omit<DefineMessage, "kind" | "id" | "epoch" | "program" | "arena">;
  /** Bytes that the program's arena must have; 0 when it needs none. */
  readonly arenaBytes: number;
  readonly inputs: readonly PayloadArray[];
  readonly outputs: readonly PayloadArray[];
  /** What each op is called in messages: "rope_append (model.layers.3.self_attn.append)". */
  readonly operations: readonly string[];
}

/** Places intermediates for steps up to `limits` and binds every parameter to a handle id. */
export function lower(program: Program, bind: (parameter: string) => number, limits: Sizes): LoweredProgram {
  const { program: placed, bytes } = arena(program, limits);
  const wirePlace = (place: Place): WireValue["place"] => {
    switch (place.type) {
      case "parameter":
        return { type: "handle", handle: bind(place.name) };
      case "input":
        return { type: "input" };
      case "columns":
        return { type: "columns", of: place.of, column: place.column };
      case "intermediate":
        return { type: "arena", offset: place.offset ?? 0 };
    }
  };
  const values = placed.values.map(({ dtype, layout, shape, place }): WireValue => {
    return { dtype, layout, shape: shape.map(wireDimension), place: wirePlace(place) };
  });
  const array = (name: string, id: number): PayloadArray => {
    const { dtype, shape } = placed.values[id]!;
    return { name, dtype, shape };
  };
  return {
    message: {
      limits: { ...limits },
      values,
      ops: placed.ops.map(wireOperation),
      inputs: [...placed.inputs],
      outputs: placed.outputs.map(({ value }) => value),
    },
    arenaBytes: bytes,
    inputs: placed.inputs.map((id) => array(placed.values[id]!.label, id)),
    outputs: placed.outputs.map(({ name, value }) => array(name, value)),
    operations: placed.ops.map(({ op, label }) => `${op} (${label})`),
  };
}

function wireDimension(dimension: Dimension): WireDimension {
  return typeof dimension === "number" ? { type: "fixed", size: dimension } : { type: "symbol", symbol: dimension };
}

function wireOperation({ op, inputs, outputs, attributes }: Operation): WireOperation {
  const table: Readonly<Record<string, Attribute>> = OPS[op].attributes;
  const operands = (given: Readonly<Record<string, number>>) =>
    Object.entries(given).map(([name, value]) => ({ name, value }));
  return {
    op,
    inputs: operands(inputs),
    outputs: operands(outputs),
    attributes: Object.entries(attributes).map(([name, value]) => wireAttribute(name, table[name]!, value)),
  };
}

function wireAttribute(name: string, attribute: Attribute, value: AttributeValue): WireAttribute {
  switch (attribute.type) {
    case "number":
      return { type: "number", name, number: value as number };
    case "integer":
      return { type: "integer", name, integer: value as number };
    case "boolean":
      return { type: "boolean", name, boolean: value as boolean };
    case "enum":
      return { type: "enum", name, value: value as string };
  }
}
