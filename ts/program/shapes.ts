/**
 * Dimension expressions of the op table (`protocol/ops.ts`): parsed once, unified with the shapes of an op's operands.
 *
 * A symbol of the op table (`T`, `K`) is bound to a dimension of the program, which is a number or a size known only at
 * each step: `rows` binds its `S` to the program's "S", and the `linear` after it then binds its own `T` to that "S".
 */
import type { Sizes } from "../../protocol/messages.ts";
import type { SizeSymbol } from "../../protocol/sizes.ts";
import { OctavoError } from "../errors.ts";
import type { AttributeValue, Dimension } from "./program.ts";

interface FunctionFactor {
  readonly type: "function";
  readonly name: "pad64" | "carryWords" | "blocks";
  /** Of the op table, or an attribute's name. */
  readonly symbol: string;
}

type Factor =
  | { readonly type: "number"; readonly value: number }
  | { readonly type: "symbol"; readonly name: string; readonly plus: 0 | 1 }
  | { readonly type: "attribute"; readonly name: string }
  | FunctionFactor;

const pad64 = (k: number) => Math.ceil(k / 64) * 64;
const carryWords = (k: number) => 4 + pad64(k) / 4 + pad64(k) - k;
const blocks = (k: number) => Math.max(1, pad64(k) / 64);
const FUNCTIONS = { pad64, carryWords, blocks } as const;

/** K of digits whose rows are `padded` columns and `words` of `carries`; undefined where no K has these. */
function digitColumns(padded: number, words: number): number | undefined {
  const k = padded - (words - 4 - padded / 4);
  return k >= 0 && pad64(k) === padded && carryWords(k) === words ? k : undefined;
}

const parsed = new Map<string, readonly Factor[]>();

function parse(expression: string): readonly Factor[] {
  const known = parsed.get(expression);
  if (known) return known;
  const factors = expression.split("*").map((text): Factor => {
    if (/^\d+$/.test(text)) return { type: "number", value: Number(text) };
    const symbol = /^([A-Z])(\+1)?$/.exec(text);
    if (symbol) return { type: "symbol", name: symbol[1]!, plus: symbol[2] ? 1 : 0 };
    const call = /^(pad64|carryWords|blocks)\(([A-Z]|[a-z]\w*)\)$/.exec(text);
    if (call) return { type: "function", name: call[1] as FunctionFactor["name"], symbol: call[2]! };
    if (/^[a-z]\w*$/.test(text)) return { type: "attribute", name: text };
    throw new Error(`the op table has a dimension that is not an expression: ${expression}`);
  });
  parsed.set(expression, factors);
  return factors;
}

/** `dimension + 1`, for the numbers and for the two sizes that have one (`S`, `B`); undefined for others. */
function successor(dimension: Dimension): Dimension | undefined {
  if (typeof dimension === "number") return dimension + 1;
  return dimension === "S" || dimension === "B" ? `${dimension}+1` : undefined;
}

function predecessor(dimension: Dimension): Dimension | undefined {
  if (typeof dimension === "number") return dimension > 0 ? dimension - 1 : undefined;
  return dimension === "S+1" ? "S" : dimension === "B+1" ? "B" : undefined;
}

export function formatShape(shape: readonly (Dimension | string)[]): string {
  return `[${shape.join(", ")}]`;
}

/** The symbols of one op call: first `bind` every operand, then `check` every operand, then `resolve` the results. */
export class ShapeScope {
  readonly #where: string;
  readonly #attributes: Readonly<Record<string, AttributeValue>>;
  readonly #bound = new Map<string, { readonly dimension: Dimension; readonly operand: string }>();
  /** Sizes of `pad64(K)` by K, where K is not known yet. */
  readonly #padded = new Map<string, number>();

  /** @param where names the call in messages, for example `linear_int8 "layers.0.attention.q"` */
  constructor(where: string, attributes: Readonly<Record<string, AttributeValue>>) {
    this.#where = where;
    this.#attributes = attributes;
  }

  /**
   * Checks the rank and binds the symbols that stand alone and are still free. A K that only `pad64(K)` and
   * `carryWords(K)` show follows from both.
   */
  bind(operand: string, expressions: readonly string[], shape: readonly Dimension[]): void {
    if (shape.length !== expressions.length)
      throw new OctavoError(
        "OCTAVO_SHAPE_MISMATCH",
        `${this.#where}: ${operand} has shape ${formatShape(shape)}, rank ${shape.length}; ` +
          `it must be ${formatShape(expressions)}, rank ${expressions.length}`,
      );
    for (const [i, expression] of expressions.entries()) {
      const [factor, ...more] = parse(expression);
      if (factor?.type === "function" && more.length === 0) this.#bindFunction(operand, factor, shape[i]!);
      if (factor?.type !== "symbol" || more.length > 0 || this.#bound.has(factor.name)) continue;
      const dimension = factor.plus ? predecessor(shape[i]!) : shape[i]!;
      if (dimension !== undefined) this.#bound.set(factor.name, { dimension, operand });
    }
  }

  #bindFunction(operand: string, { name, symbol }: FunctionFactor, dimension: Dimension): void {
    if (this.#bound.has(symbol) || typeof dimension !== "number") return;
    const padded = this.#padded.get(symbol);
    if (name === "pad64") this.#padded.set(symbol, padded ?? dimension);
    else if (name === "carryWords" && padded !== undefined) {
      const k = digitColumns(padded, dimension);
      if (k !== undefined) this.#bound.set(symbol, { dimension: k, operand });
    }
  }

  /** Compares every dimension with its expression; throws `OCTAVO_SHAPE_MISMATCH` with both shapes. */
  check(operand: string, expressions: readonly string[], shape: readonly Dimension[]): void {
    this.#checkColumns(operand, expressions, shape);
    const wanted = expressions.map((expression) => this.size(expression));
    if (shape.every((dimension, i) => dimension === wanted[i])) return;
    const origins = new Set<string>();
    for (const expression of expressions)
      for (const factor of parse(expression)) {
        const name = factor.type === "symbol" ? factor.name : factor.type === "function" ? factor.symbol : undefined;
        const bound = name === undefined ? undefined : this.#bound.get(name);
        if (bound && bound.operand !== operand) origins.add(`${name} = ${bound.dimension} from ${bound.operand}`);
      }
    const because = origins.size > 0 ? ` (${[...origins].join(", ")})` : "";
    throw new OctavoError(
      "OCTAVO_SHAPE_MISMATCH",
      `${this.#where}: ${operand} has shape ${formatShape(shape)}, expected ` +
        `${formatShape(wanted.map((dimension, i) => dimension ?? expressions[i]!))} = ${formatShape(expressions)}${because}`,
    );
  }

  /** Rows have columns, and as many in each step. Page tables alone are as wide as the step says. */
  #checkColumns(operand: string, expressions: readonly string[], shape: readonly Dimension[]): void {
    for (const [i, size] of shape.entries()) {
      if (i === 0 || (size !== 0 && (typeof size === "number" || size === expressions[i]))) continue;
      const what = size === 0 ? "there are no elements in a row" : `${expressions[i]} needs a fixed size`;
      throw new OctavoError("OCTAVO_SHAPE_MISMATCH", `${this.#where}: ${operand} ${formatShape(shape)}: ${what}`);
    }
  }

  /** The shape of a result. Every symbol of it must be bound. */
  resolve(operand: string, expressions: readonly string[]): Dimension[] {
    const shape = expressions.map((expression) => {
      const dimension = this.size(expression);
      if (dimension === undefined)
        throw new OctavoError(
          "OCTAVO_SHAPE_MISMATCH",
          `${this.#where}: the dimension ${expression} of ${operand} does not follow from the operands`,
        );
      return dimension;
    });
    this.#checkColumns(operand, expressions, shape);
    return shape;
  }

  /** What the symbols are bound to, where that is a number. */
  numbers(): Record<string, number> {
    const fixed = [...this.#bound].map(([name, { dimension }]) => [name, dimension] as const);
    return Object.fromEntries(fixed.filter((entry): entry is [string, number] => typeof entry[1] === "number"));
  }

  /** What an expression comes to; undefined when its symbols are not bound, or it calculates with a size of the step. */
  size(expression: string): Dimension | undefined {
    const factors = parse(expression);
    if (factors.length === 1) return this.#factor(factors[0]!);
    let product = 1;
    for (const factor of factors) {
      const dimension = this.#factor(factor);
      if (typeof dimension !== "number") return undefined;
      product *= dimension;
    }
    return product;
  }

  #factor(factor: Factor): Dimension | undefined {
    if (factor.type === "number") return factor.value;
    if (factor.type === "attribute") return this.#attributes[factor.name] as number;
    if (factor.type === "symbol") {
      const dimension = this.#bound.get(factor.name)?.dimension;
      return factor.plus && dimension !== undefined ? successor(dimension) : dimension;
    }
    const dimension = this.#attributes[factor.symbol] ?? this.#bound.get(factor.symbol)?.dimension;
    return typeof dimension === "number" ? FUNCTIONS[factor.name](dimension) : undefined;
  }
}

/** A dimension in one step, or at the limits. */
function sizeOf(dimension: Dimension, sizes: Sizes): number {
  if (typeof dimension === "number") return dimension;
  const symbol: SizeSymbol = dimension;
  if (symbol === "S+1") return sizes.S + 1;
  if (symbol === "B+1") return sizes.B + 1;
  return sizes[symbol];
}

export function shapeAt(shape: readonly Dimension[], sizes: Sizes): number[] {
  return shape.map((dimension) => sizeOf(dimension, sizes));
}

export function elementsOf(shape: readonly Dimension[], sizes: Sizes): number {
  let product = 1;
  for (const dimension of shape) product *= sizeOf(dimension, sizes);
  return product;
}

/** Throws `OCTAVO_SHAPE_MISMATCH` unless rows of `x` [T, K] are as wide as those of `weight` [N, K]: both by their own shapes. */
export function checkProduct(where: string, x: readonly Dimension[], weight: readonly Dimension[]): void {
  if (x.length === 2 && weight.length === 2 && x[1] === weight[1]) return;
  throw new OctavoError(
    "OCTAVO_SHAPE_MISMATCH",
    `${where}: x ${formatShape(x)} and w ${formatShape(weight)} do not fit; x is [T, K], w is [N, K], with the same K`,
  );
}
