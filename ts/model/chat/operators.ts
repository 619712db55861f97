/** Operators between values, as Python has them. What Python refuses throws. */
import type { Budget } from "./budget.ts";
import { toText } from "./print.ts";
import { characters, slice } from "./python-text.ts";
import {
  compare,
  equal,
  Float,
  Iterable,
  isDict,
  isList,
  iterate,
  key,
  Markup,
  numeric,
  Range,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

export function binary(operator: string, a: Value, b: Value, budget: Budget): Value {
  switch (operator) {
    case "==":
      return equal(a, b, budget);
    case "!=":
      return !equal(a, b, budget);
    case "<":
      return compare(a, b, budget) < 0;
    case ">":
      return compare(a, b, budget) > 0;
    case "<=":
      return compare(a, b, budget) <= 0;
    case ">=":
      return compare(a, b, budget) >= 0;
    case "in":
      return contains(b, a, budget);
    case "not in":
      return !contains(b, a, budget);
    case "~":
      return joined(toText(a, budget), toText(b, budget), budget);
    case "+":
      return add(a, b, budget);
    case "*":
      return multiply(a, b, budget);
    default:
      return arithmetic(operator, a, b);
  }
}

function joined(a: string, b: string, budget: Budget): string {
  // The engine keeps a long text with a short one as a pair: only the short one is work.
  budget.text(a.length + b.length, Math.min(a.length, b.length));
  return a + b;
}

function add(a: Value, b: Value, budget: Budget): Value {
  if (typeof a === "string" && typeof b === "string") return joined(a, b, budget);
  if (isList(a) && isList(b)) {
    budget.step(a.length + b.length);
    return [...a, ...b];
  }
  if (a instanceof Tuple && b instanceof Tuple) {
    budget.step(a.items.length + b.items.length);
    return new Tuple([...a.items, ...b.items]);
  }
  return arithmetic("+", a, b);
}

function multiply(a: Value, b: Value, budget: Budget): Value {
  const [items, times] = typeof a === "number" || typeof a === "boolean" ? [b, numeric(a)] : [a, numeric(b)];
  if (b instanceof Float || a instanceof Float || times === undefined) return arithmetic("*", a, b);
  const count = Math.max(0, times);
  if (typeof items === "string") {
    budget.text(items.length * count);
    return items.repeat(count);
  }
  if (isList(items)) {
    budget.step(items.length * count);
    return Array.from({ length: count }, () => items).flat();
  }
  return arithmetic("*", a, b);
}

function arithmetic(operator: string, a: Value, b: Value): Value {
  const [x, y] = [numeric(a), numeric(b)];
  if (x === undefined || y === undefined) throw new Error(`${typeName(a)} ${operator} ${typeName(b)}`);
  if (y === 0 && ["/", "//", "%"].includes(operator)) throw new Error("a division by zero");
  const float = a instanceof Float || b instanceof Float;
  switch (operator) {
    case "+":
      return number(x + y, float);
    case "-":
      return number(x - y, float);
    case "*":
      return number(x * y, float);
    case "/":
      return number(x / y, true);
    case "//":
      return number(Math.floor(x / y), float);
    case "%":
      return number(x - y * Math.floor(x / y), float);
    case "**":
      // A power that is no whole number may differ in its last bit.
      if (!Number.isSafeInteger(x) || !Number.isSafeInteger(y) || !Number.isSafeInteger(x ** y)) throw new Error("**");
      return number(x ** y, float || y < 0);
    default:
      throw new Error(`the operator ${operator}`);
  }
}

/** Python's whole numbers have no end; those that a double does not hold are refused. */
export function number(value: number, float: boolean): Value {
  if (float ? !Number.isFinite(value) : !Number.isSafeInteger(value)) throw new Error(`the number ${value}`);
  return float ? new Float(value) : value;
}

export function unary(operator: string, value: Value): Value {
  const x = numeric(value);
  if (x === undefined) throw new Error(`${operator} ${typeName(value)}`);
  const float = value instanceof Float;
  // A float has a negative zero, an int has not.
  return number(operator === "+" ? x : float ? -x : 0 - x, float);
}

/** `item in container`. */
export function contains(container: Value, item: Value, budget: Budget): boolean {
  if (typeof container === "string") {
    if (typeof item !== "string") throw new Error(`${typeName(item)} in str`);
    budget.text(0, container.length);
    return container.includes(item);
  }
  if (isDict(container)) return container.has(key(item));
  if (container instanceof Markup) throw new Error("a search in text that is marked as safe");
  return iterate(container, budget).some((other) => equal(other, item, budget));
}

/** `container[index]`; undefined where there is none, as Jinja has it, and then its attributes count. */
export function at(container: Value, index: Value): Value | undefined {
  if (container instanceof Undefined || container instanceof Markup) throw new Error(`${typeName(container)}[...]`);
  if (isDict(container)) {
    const known = index === null || typeof index === "string" || typeof index === "number";
    if (!known && (typeof index === "boolean" || index instanceof Float || index instanceof Tuple)) key(index);
    return known ? container.get(index) : undefined;
  }
  const items = sequence(container);
  if (items === undefined) return undefined;
  const place = typeof index === "boolean" ? Number(index) : index;
  if (typeof place !== "number") return undefined;
  return items[place < 0 ? place + items.length : place];
}

/** `container[start:stop:step]`. */
export function sliced(container: Value, bounds: readonly Value[], budget: Budget): Value {
  const [start, stop, step] = bounds.map((bound) => {
    if (bound === null || typeof bound === "number") return bound;
    if (typeof bound === "boolean") return Number(bound);
    throw new Error(`a slice with ${typeName(bound)}`);
  });
  const items = sequence(container);
  if (items === undefined || container instanceof Range) throw new Error(`a slice of ${typeName(container)}`);
  if (typeof items === "string" && (step === null || step === 1)) {
    budget.text(items.length, 0);
    const [first, last] = [start ?? 0, stop ?? items.length];
    return items.slice(first, last);
  }
  budget.step(items.length);
  const part = slice(items as ArrayLike<Value>, start ?? null, stop ?? null, step ?? null);
  if (typeof container === "string") return part.join("");
  return container instanceof Tuple ? new Tuple(part) : part;
}

function sequence(value: Value): readonly Value[] | string | undefined {
  if (typeof value === "string") return characters(value);
  if (isList(value)) return value;
  return value instanceof Tuple || value instanceof Range ? value.items : undefined;
}

/** Python's `len`. */
export function length(value: Value): number {
  if (value instanceof Undefined) return 0;
  if (isDict(value)) return value.size;
  if (value instanceof Iterable && value.view) return value.items.length;
  const items = sequence(value);
  if (items === undefined) throw new Error(`the length of ${typeName(value)}`);
  return items.length;
}
