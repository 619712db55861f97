/**
 * Ops that fit the op table, and each of them with one thing wrong: what the builder says of them. Python must say the same
 * (`kernels/tests/test_operations.py`), else a program that was written here is refused there, or worse.
 */
import { OctavoError } from "../../ts/errors.ts";
import { ProgramBuilder } from "../../ts/program/builder.ts";
import type { Dimension } from "../../ts/program/program.ts";
import { DTYPES, type DType, type Layout, OPS, type OpName, type OpSpec } from "../ops.ts";

type Given = readonly [dtype: DType, layout: Layout, shape: readonly Dimension[]];
type Attribute = number | boolean | string;
interface Call {
  readonly op: OpName;
  readonly inputs: Readonly<Record<string, Given>>;
  readonly attributes: Readonly<Record<string, Attribute>>;
}
interface Verdict {
  /** Of the error, and its text after the name of the op where a rule of the table refuses. */
  readonly code?: string;
  readonly text?: string;
}

const SYMBOLS: Readonly<Record<string, Dimension>> = {
  ...{ T: "T", S: "S", B: "B", J: "J", H: "H", D: "D", Q: "Q" },
  ...{ K: 40, N: 24, V: 50, W: 32, R: 4, P: 64, G: 8, M: 1 },
};
const ATTRIBUTES: Readonly<Record<string, Attribute>> = {
  headDim: 8,
  columns: 40,
  heads: 4,
  kvHeads: 2,
  maskWords: 2,
  scale: 1,
};

function dimension(expression: string, sizes = ATTRIBUTES): Dimension {
  if (expression === "pad64(K)") return 64;
  if (expression.startsWith("blocks(")) return 1;
  if (expression === "carryWords(K)") return 4 + 16 + 24;
  if (expression.endsWith("+1")) return expression as Dimension;
  const [first, ...more] = expression.split("*").map((name) => SYMBOLS[name] ?? sizes[name] ?? Number(name));
  return more.reduce<Dimension>((product, size) => Number(product) * Number(size), first as Dimension);
}

function right(op: OpName, sizes = ATTRIBUTES): Call {
  const { inputs, attributes }: OpSpec = OPS[op];
  const given = Object.entries(inputs).map(([name, { dtypes, shape }]): [string, Given] => {
    return [name, [dtypes[0]!, "plain", shape.map((size) => dimension(size, sizes))]];
  });
  const needed = Object.keys(attributes).filter((name) => attributes[name]!.default === undefined);
  return {
    op,
    inputs: Object.fromEntries(given),
    attributes: Object.fromEntries(needed.map((name) => [name, sizes[name]!])),
  };
}

function* wrongOperands(vector: Call): Generator<Call> {
  for (const [name, [dtype, layout, shape]] of Object.entries(vector.inputs)) {
    const changed = (given: Given) => ({ ...vector, inputs: { ...vector.inputs, [name]: given } });
    const { [name]: _, ...others } = vector.inputs;
    yield { ...vector, inputs: others };
    for (const other of DTYPES) if (other !== dtype) yield changed([other, layout, shape]);
    yield changed([dtype, "packed", shape]);
    yield changed([dtype, layout, shape.slice(1)]);
    for (const [axis, size] of shape.entries())
      for (const other of typeof size === "number" ? [size + 1, 0, "Q" as const] : [3, "Q" as const])
        yield changed([dtype, layout, shape.with(axis, other)]);
  }
}

function* wrongAttributes(vector: Call): Generator<Call> {
  const { attributes }: OpSpec = OPS[vector.op];
  for (const [name, attribute] of Object.entries(attributes)) {
    const { [name]: _, ...others } = vector.attributes;
    yield { ...vector, attributes: others };
    const values: Attribute[] = [true, "other", 1.5, 3];
    if ("min" in attribute && attribute.min !== undefined) values.push(attribute.min, attribute.min - 1);
    if ("max" in attribute && attribute.max !== undefined) values.push(attribute.max, attribute.max + 1);
    for (const value of values) yield { ...vector, attributes: { ...vector.attributes, [name]: value } };
  }
  yield { ...vector, attributes: { ...vector.attributes, other: 1 } };
}

/** A symbol of the table with another size wherever it stands: only a rule can object. */
function* otherSizes(vector: Call): Generator<Call> {
  const { inputs }: OpSpec = OPS[vector.op];
  for (const symbol of Object.keys(SYMBOLS))
    for (const size of [0, 1, 65, 132_104, 132_105, 2 ** 31 - 1, 2 ** 31, "Q" as const]) {
      const sized = ([name, [dtype, layout, shape]]: [string, Given]): [string, Given] => {
        const other = shape.map((old, axis) => (inputs[name]!.shape[axis] === symbol ? size : old));
        return [name, [dtype, layout, other]];
      };
      const changed = Object.fromEntries(Object.entries(vector.inputs).map(sized));
      if (JSON.stringify(changed) !== JSON.stringify(vector.inputs)) yield { ...vector, inputs: changed };
    }
}

/** Heads of an odd size, and operands that fit: only a rule can object. */
function* oddHeads(vector: Call): Generator<Call> {
  if ("headDim" in vector.attributes) yield right(vector.op, { ...ATTRIBUTES, headDim: 9 });
}

/** What the builder says. */
function verdict({ op, inputs, attributes }: Call): Verdict {
  const b = new ProgramBuilder();
  const declare = ([name, [dtype, layout, shape]]: [string, Given]) => {
    const source = { type: "state", kind: "io" } as const;
    return [name, b.parameter({ name, dtype, layout, shape: shape as readonly number[], source })];
  };
  try {
    b.call(op, Object.fromEntries(Object.entries(inputs).map(declare)), attributes as never);
    return {};
  } catch (error) {
    if (!(error instanceof OctavoError)) throw error;
    // Where digits come from is not the table's.
    if (error.message.includes("must be the results of one op")) return {};
    const { rules }: OpSpec = OPS[op];
    const text = error.message.slice(`${op}: `.length);
    const isRule = rules?.some((rule) => matches(rule.text, text));
    return { code: error.code, ...(isRule ? { text } : {}) };
  }
}

function matches(template: string, text: string): boolean {
  const pieces = template.split(/\{.+?\}/).map((piece) => piece.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${pieces.join(".+")}$`).test(text);
}

/** What differs from the right call of the op; null: not given. */
function difference<T>(
  right: Readonly<Record<string, T>>,
  wrong: Readonly<Record<string, T>>,
): Record<string, T | null> {
  const names = new Set([...Object.keys(right), ...Object.keys(wrong)]);
  const changed = [...names].filter((name) => JSON.stringify(right[name]) !== JSON.stringify(wrong[name]));
  return Object.fromEntries(changed.map((name) => [name, wrong[name] ?? null]));
}

/** Per op: the right call first, then what others have that differs from it. */
export const operations = (Object.keys(OPS) as OpName[]).flatMap((op) => {
  const base = right(op);
  const wrong = [...wrongOperands(base), ...wrongAttributes(base), ...otherSizes(base), ...oddHeads(base)].map(
    (call) => ({
      op,
      inputs: difference(base.inputs, call.inputs),
      attributes: difference(base.attributes, call.attributes),
      ...verdict(call),
    }),
  );
  return [{ ...base, ...verdict(base) }, ...wrong];
});
