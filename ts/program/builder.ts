/**
 * Writes a program the way a PyTorch `forward` is written: ops are methods, results are values.
 *
 * Shapes and dtypes are inferred from the op table; a call that does not fit throws at once, on the line that is wrong:
 * `OCTAVO_UNKNOWN_OP`, `OCTAVO_BAD_ARGUMENT` (operands or attributes missing, unknown or out of range),
 * `OCTAVO_DTYPE_MISMATCH`, `OCTAVO_SHAPE_MISMATCH`. Messages name the op, the operand and both sides.
 */
import { type DType, OPS, type Operand, type OpName, type OpSpec } from "../../protocol/ops.ts";
import { badArgument, OctavoError } from "../errors.ts";
import { type AttributesOf, checkAttributes } from "./attributes.ts";
import type { Dimension, Operation, Parameter, Place, Program, TensorPart, Value, ValueId } from "./program.ts";
import { checkRules } from "./rules.ts";
import type { Scheme } from "./scheme.ts";
import { checkProduct, formatShape, ShapeScope } from "./shapes.ts";
import { DEFAULT_THRESHOLD, type Threshold, thresholdAttributes } from "./threshold.ts";

type OpTable = typeof OPS;
type OptionalInputs<N extends OpName> = {
  [K in keyof OpTable[N]["inputs"]]: OpTable[N]["inputs"][K] extends { optional: true } ? K : never;
}[keyof OpTable[N]["inputs"]];

export type InputsOf<N extends OpName> = {
  readonly [K in Exclude<keyof OpTable[N]["inputs"], OptionalInputs<N>>]: ValueId;
} & { readonly [K in OptionalInputs<N>]?: ValueId | undefined };

export type OutputsOf<N extends OpName> = { readonly [K in keyof OpTable[N]["outputs"]]: ValueId };

export interface OpOptions<N extends OpName> {
  /** For messages and reports; by default the op's name and its number. */
  readonly label?: string;
  /** Existing values (parameters) that results are written into, instead of new intermediates. */
  readonly into?: { readonly [K in keyof OpTable[N]["outputs"]]?: ValueId };
}

/** int8 digits of rows. */
export type Digits = OutputsOf<"quantize_digits">;

export interface WeightSpec {
  /** Stacked by rows, in this order. */
  readonly parts: readonly TensorPart[];
  /** [N, K] */
  readonly shape: readonly [number, number];
  readonly form: "int8" | "float";
  /** Of a float weight; int8 weights have int8 codes and float32 scales. */
  readonly dtype?: DType;
}

export interface LinearSpec {
  /** Only for int8 weights. */
  readonly threshold?: Threshold;
  /** Only for float weights: quantised at each step. */
  readonly scheme?: Scheme | undefined;
  readonly bias?: ValueId | undefined;
  readonly label?: string;
  readonly into?: ValueId;
}

/** What of an op's operands belongs to the same rows. */
const OF_ONE: { readonly [op in OpName]?: readonly string[] } = {
  linear_int8: ["low", "high", "carries", "step"],
  multiply_int8: ["low", "high", "carries"],
  dequantize: ["sums", "step"],
};

export class ProgramBuilder {
  readonly #values: Value[] = [];
  readonly #ops: Operation[] = [];
  readonly #inputs = new Map<string, ValueId>();
  readonly #outputs: { name: string; value: ValueId }[] = [];
  readonly #parameters = new Map<string, Parameter>();
  readonly #parameterValues = new Map<string, ValueId>();
  /** Scale value of each int8 weight. */
  readonly #scales = new Map<ValueId, ValueId>();
  /** Digits already made, by input value and attributes: q, k and v share them. */
  readonly #digits = new Map<string, Digits>();

  /** A tensor that outlives the step. Asking again for the same name gives the same value. */
  parameter(parameter: Parameter): ValueId {
    const known = this.#parameters.get(parameter.name);
    if (known) {
      if (known.dtype !== parameter.dtype || known.shape.join() !== parameter.shape.join())
        throw badArgument(
          `parameter ${parameter.name} is ${known.dtype} ${formatShape(known.shape)} and cannot be ` +
            `${parameter.dtype} ${formatShape(parameter.shape)} as well`,
        );
      return this.#parameterValues.get(parameter.name)!;
    }
    const { name, dtype, layout, shape } = parameter;
    const value = this.#add({ dtype, layout, shape, place: { type: "parameter", name }, label: name });
    this.#parameters.set(name, parameter);
    this.#parameterValues.set(name, value);
    return value;
  }

  /** A linear weight [N, K] from files, packed: for `linear`. */
  weight(name: string, spec: WeightSpec): ValueId {
    const { parts, shape, form } = spec;
    const packed = { name, layout: "packed", shape } as const;
    const source = { type: "tensors", parts, form } as const;
    if (form === "float") return this.parameter({ ...packed, dtype: spec.dtype ?? "float16", source });
    const scale = `${name}.scale`;
    const codes = this.parameter({ ...packed, dtype: "int8", source: { ...source, scale } });
    const scales = {
      dtype: "float32",
      layout: "plain",
      shape: [shape[0]],
      source: { type: "scale", of: name },
    } as const;
    this.#scales.set(codes, this.parameter({ name: scale, ...scales }));
    return codes;
  }

  /** A vector from files (norm weight, bias), as float32. */
  vector(name: string, size: number, part: TensorPart = { tensor: name }): ValueId {
    const source = { type: "tensors", parts: [part], form: "float" } as const;
    return this.parameter({ name, dtype: "float32", layout: "plain", shape: [size], source });
  }

  constant(name: string, data: Float32Array | Int32Array, shape: readonly number[]): ValueId {
    const dtype = data instanceof Float32Array ? "float32" : "int32";
    return this.parameter({ name, dtype, layout: "plain", shape, source: { type: "constant", data } });
  }

  /** Memory that steps write and later steps read: KV pages, sampled ids. Zeroed at first. */
  state(name: string, kind: "kv" | "io", dtype: DType, shape: readonly number[]): ValueId {
    return this.parameter({ name, dtype, layout: "plain", shape, source: { type: "state", kind } });
  }

  /** An array that each step brings. Order of the calls is the order in the payload. */
  input(name: string, dtype: DType, shape: readonly Dimension[]): ValueId {
    if (this.#inputs.has(name)) throw badArgument(`there is an input ${name} already`);
    const value = this.#add({ dtype, layout: "plain", shape, place: { type: "input", name }, label: name });
    this.#inputs.set(name, value);
    return value;
  }

  /** Columns `column ... column + width` of a value [T, K], without a copy. */
  columns(of: ValueId, column: number, width: number, label?: string): ValueId {
    const parent = this.#value(of, "columns", "of");
    const total = parent.shape[1];
    if (parent.shape.length !== 2 || typeof total !== "number" || parent.layout !== "plain")
      throw new OctavoError("OCTAVO_SHAPE_MISMATCH", `columns: ${parent.label} has shape ${formatShape(parent.shape)}`);
    const inside = Number.isInteger(column) && Number.isInteger(width) && column >= 0 && width > 0;
    if (!inside || column + width > total)
      throw new OctavoError(
        "OCTAVO_SHAPE_MISMATCH",
        `columns: ${column}..${column + width} are not inside ${parent.label} ${formatShape(parent.shape)}`,
      );
    const { place: from } = parent;
    const place: Place =
      from.type === "columns" ? { ...from, column: from.column + column } : { type: "columns", of, column };
    const shape = [parent.shape[0]!, width];
    return this.#add({ ...parent, shape, place, label: label ?? `${parent.label}[${column}]` });
  }

  /** Any op of the table. */
  call<N extends OpName>(
    op: N,
    inputs: InputsOf<N>,
    attributes: AttributesOf<N> = {} as AttributesOf<N>,
    options: OpOptions<N> = {},
  ): OutputsOf<N> {
    if (!Object.hasOwn(OPS, op))
      throw new OctavoError("OCTAVO_UNKNOWN_OP", `no op ${op}; there are ${Object.keys(OPS).join(", ")}`);
    const spec: OpSpec = OPS[op];
    const label = options.label ?? `${op}.${this.#ops.length}`;
    const where = options.label ? `${op} "${options.label}"` : op;
    const filled = checkAttributes(op, where, attributes);
    const scope = new ShapeScope(where, filled);
    const given = this.#checkOperands(spec, where, inputs as Readonly<Record<string, ValueId | undefined>>);
    for (const [name, id] of given) scope.bind(name, spec.inputs[name]!.shape, this.#values[id]!.shape);
    for (const [name, id] of given) scope.check(name, spec.inputs[name]!.shape, this.#values[id]!.shape);
    checkRules(spec.rules ?? [], where, scope, filled, (name) => this.#values[given.get(name) ?? -1]?.dtype);
    this.#checkDigits(op, where, given);

    const into: Readonly<Record<string, ValueId | undefined>> = options.into ?? {};
    const outputs: Record<string, ValueId> = {};
    for (const [name, operand] of Object.entries(spec.outputs)) {
      const shape = scope.resolve(name, operand.shape);
      const dtype = operand.dtypes.length === 1 ? operand.dtypes[0]! : (filled.dtype as DType);
      const target = into[name];
      if (target === undefined) {
        const place = { type: "intermediate" } as const;
        const only = Object.keys(spec.outputs).length === 1;
        outputs[name] = this.#add({ dtype, layout: "plain", shape, place, label: only ? label : `${label}.${name}` });
        continue;
      }
      this.#checkOperand(where, name, { ...operand, dtypes: [dtype], mutated: true }, target);
      scope.check(name, operand.shape, this.#values[target]!.shape);
      outputs[name] = target;
    }
    this.#ops.push({ op, inputs: Object.fromEntries(given), outputs, attributes: filled, label });
    return outputs as OutputsOf<N>;
  }

  embed(
    tokens: ValueId,
    table: ValueId,
    options: { sampled?: ValueId | undefined; scale?: number; label?: string } = {},
  ): ValueId {
    const { sampled, scale, label } = options;
    return this.call("embed", { tokens, table, sampled }, { scale }, labelled(label)).y;
  }

  norm(
    x: ValueId,
    weight: ValueId,
    options: AttributesOf<"norm"> & { bias?: ValueId | undefined; label?: string } = {},
  ): ValueId {
    const { bias, label, ...attributes } = options;
    return this.call("norm", { x, weight, bias }, attributes, labelled(label)).y;
  }

  /**
   * Digits of x; asking again for the same x and threshold gives the same digits. In three ops, between which ranks that
   * share the rows of x can exchange what they know of them; `fuse` makes one of them where nothing stands between.
   */
  quantize(x: ValueId, threshold: Threshold = DEFAULT_THRESHOLD): Digits {
    const attributes = thresholdAttributes(threshold);
    const key = `${x} ${JSON.stringify(attributes)}`;
    const known = this.#digits.get(key);
    if (known) return known;
    const { label, shape } = this.#value(x, "quantize", "x");
    const { statistics } = this.call("row_statistics", { x }, {}, { label: `${label}.statistics` });
    const columns = shape[1] as number; // A number, or there were no statistics.
    const rule = { ...attributes, columns };
    const { inliers } = this.call("row_inliers", { x, statistics }, rule, { label: `${label}.inliers` });
    const digits = this.call("quantize_digits", { x, statistics, inliers }, {}, { label: `${label}.digits` });
    this.#digits.set(key, digits);
    return digits;
  }

  /**
   * y = x w^T + bias. With an int8 weight: LLM.int8() (`quantize` once per x, then `multiply_int8` and `dequantize`, between
   * which ranks can add up their sums); else `linear_float`, or `linear_scheme` if there is a scheme.
   */
  linear(x: ValueId, weight: ValueId, options: LinearSpec = {}): ValueId {
    const { bias, threshold, scheme, label, into } = options;
    const call = { ...labelled(label), ...(into === undefined ? {} : { into: { y: into } }) };
    const { dtype, shape } = this.#value(weight, "linear", "weight");
    checkProduct(label === undefined ? "linear" : `linear "${label}"`, this.#value(x, "linear", "x").shape, shape);
    if (dtype !== "int8" && scheme !== undefined)
      return this.call("linear_scheme", { x, weight, bias }, { ...scheme }, call).y;
    if (dtype !== "int8") return this.call("linear_float", { x, weight, bias }, {}, call).y;
    const scale = this.#scales.get(weight);
    if (scale === undefined)
      throw badArgument(
        `linear: the int8 weight ${this.#values[weight]!.label} has no scale; make it with weight(), or call linear_int8`,
      );
    const { step, ...digits } = this.quantize(x, threshold);
    const name = label ?? `linear.${this.#ops.length}`;
    const { sums } = this.call("multiply_int8", { ...digits, weight }, {}, { label: `${name}.sums` });
    return this.call("dequantize", { sums, step, scale, bias }, {}, { ...call, label: name }).y;
  }

  rope(
    x: ValueId,
    tables: { positions: ValueId; cos: ValueId; sin: ValueId },
    attributes: AttributesOf<"rope">,
    label?: string,
  ): ValueId {
    return this.call("rope", { x, ...tables }, attributes, labelled(label)).y;
  }

  append(inputs: InputsOf<"append">, attributes: AttributesOf<"append">, label?: string): void {
    this.call("append", inputs, attributes, labelled(label));
  }

  attention(inputs: InputsOf<"attention">, attributes: AttributesOf<"attention">, label?: string): ValueId {
    return this.call("attention", inputs, attributes, labelled(label)).y;
  }

  glu(gate: ValueId, up: ValueId, attributes: AttributesOf<"glu"> = {}, label?: string): ValueId {
    return this.call("glu", { gate, up }, attributes, labelled(label)).y;
  }

  activate(x: ValueId, attributes: AttributesOf<"activate"> = {}, label?: string): ValueId {
    return this.call("activate", { x }, attributes, labelled(label)).y;
  }

  add(a: ValueId, b: ValueId, label?: string): ValueId {
    return this.call("add", { a, b }, {}, labelled(label)).y;
  }

  rows(x: ValueId, index: ValueId, label?: string): ValueId {
    return this.call("rows", { x, index }, {}, labelled(label)).y;
  }

  /** A value that each step returns, under this name. */
  output(name: string, value: ValueId): void {
    if (this.#outputs.some((output) => output.name === name)) throw badArgument(`there is an output ${name} already`);
    const { place, label } = this.#value(value, "output", name);
    if (place.type === "columns") throw badArgument(`output ${name}: ${label} is a view of columns and not contiguous`);
    this.#outputs.push({ name, value });
  }

  build(): Program {
    return {
      values: [...this.#values],
      ops: [...this.#ops],
      inputs: [...this.#inputs.values()],
      outputs: [...this.#outputs],
      parameters: new Map(this.#parameters),
    };
  }

  #add(value: Value): ValueId {
    return (this.#values.push(value) - 1) as ValueId;
  }

  #value(id: ValueId, where: string, operand: string): Value {
    const value = this.#values[id];
    if (!value) throw badArgument(`${where}: ${operand} is not a value of this program: ${id}`);
    return value;
  }

  #checkOperands(
    spec: OpSpec,
    where: string,
    inputs: Readonly<Record<string, ValueId | undefined>>,
  ): Map<string, ValueId> {
    for (const name of Object.keys(inputs))
      if (!Object.hasOwn(spec.inputs, name))
        throw badArgument(`${where}: no operand ${name}; there are ${Object.keys(spec.inputs).join(", ")}`);
    const given = new Map<string, ValueId>();
    for (const [name, operand] of Object.entries(spec.inputs)) {
      const id = inputs[name];
      if (id === undefined) {
        if (operand.optional) continue;
        throw badArgument(`${where}: operand ${name} is missing`);
      }
      this.#checkOperand(where, name, operand, id);
      given.set(name, id);
    }
    return given;
  }

  /** Digits of other rows, or of another threshold, have the same shapes: they must be the results of one op. As `sources.py`. */
  #checkDigits(op: OpName, where: string, given: ReadonlyMap<string, ValueId>): void {
    const parts = OF_ONE[op];
    if (parts === undefined) return;
    if (new Set(parts.map((name) => this.#digitsMaker(given.get(name)!))).size === 1) return;
    throw badArgument(`${where}: ${parts.join(", ")} must be the results of one op`);
  }

  /** What a value was computed by; for sums, what their digits were computed by. */
  #digitsMaker(id: ValueId): Operation | undefined {
    const maker = this.#ops.findLast(({ outputs }) => Object.values(outputs).includes(id));
    return maker?.op === "multiply_int8" ? this.#digitsMaker(maker.inputs.low!) : maker;
  }

  #checkOperand(where: string, name: string, operand: Operand, id: ValueId): void {
    const { dtype, layout, label, place } = this.#value(id, where, name);
    const mismatch = (what: string, wanted: string) =>
      new OctavoError("OCTAVO_DTYPE_MISMATCH", `${where}: ${name} (${label}) is ${what}; it must be ${wanted}`);
    if (!operand.dtypes.includes(dtype)) throw mismatch(dtype, operand.dtypes.join(" or "));
    if (layout === "packed" && !operand.packed) throw mismatch("packed", "plain (row-major)");
    if (operand.mutated && place.type !== "parameter")
      throw mismatch(`an ${place.type}`, "a parameter: the op writes it");
  }
}

function labelled(label: string | undefined): { label?: string } {
  return label === undefined ? {} : { label };
}
