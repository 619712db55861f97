/** What a template computes with: Python's values, as far as templates have them. */
import type { Budget } from "./budget.ts";

/** Jinja's `Undefined`: prints nothing, is false, has no items; anything else with it is an error. */
export class Undefined {
  readonly what: string;
  constructor(what: string) {
    this.what = what;
  }
}

/** A Python float; a JavaScript number stands for an int. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class Tuple {
  readonly items: readonly Value[];
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** `range()`: like a list but for its text, which is refused. */
export class Range {
  readonly items: readonly number[];
  constructor(items: readonly number[]) {
    this.items = items;
  }
}

/** A view of a dict (`view`), which has a length, or a generator, which has none, is true, and can be read once. */
export class Iterable {
  readonly items: readonly Value[];
  readonly view: boolean;
  read = false;
  constructor(items: readonly Value[], view: boolean) {
    this.items = items;
    this.view = view;
  }
}

/** Text that is safe in HTML: to be printed, nothing else; with other operations Python escapes. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** `namespace()`: the only thing that a template can write to. */
export class Namespace {
  readonly attributes = new Map<string, Value>();
}

/** `loop` in a for loop; items are asked for when they are needed, since a condition may read what the loop's body writes. */
export class Loop {
  readonly #source: Iterator<Value>;
  /** Items that were looked at before their turn. */
  readonly #ahead: Value[] = [];
  #index = -1;
  #previous: Value | undefined;
  #item: Value | undefined;

  constructor(source: Iterator<Value>) {
    this.#source = source;
  }

  /** The next item; undefined after the last. */
  advance(): Value | undefined {
    if (!this.#look(1)) return undefined;
    this.#previous = this.#item;
    this.#item = this.#ahead.shift();
    this.#index++;
    return this.#item;
  }

  /** Whether there are `count` more items. */
  #look(count: number): boolean {
    while (this.#ahead.length < count) {
      const { value, done } = this.#source.next();
      if (done) return false;
      this.#ahead.push(value);
    }
    return true;
  }

  attribute(name: string): Value | undefined {
    switch (name) {
      case "index":
        return this.#index + 1;
      case "index0":
        return this.#index;
      case "first":
        return this.#index === 0;
      case "last":
        return !this.#look(1);
      case "length":
      case "revindex":
      case "revindex0":
        this.#look(Number.POSITIVE_INFINITY);
        return this.#ahead.length + (name === "length" ? this.#index + 1 : name === "revindex" ? 1 : 0);
      case "previtem":
        return this.#previous !== undefined ? this.#previous : new Undefined("there is no previous item");
      case "nextitem":
        return this.#look(1) ? this.#ahead[0] : new Undefined("there is no next item");
      case "cycle":
        return new Callable("loop.cycle", (args) => args[this.#index % args.length] ?? null);
      case "changed":
      case "depth":
      case "depth0":
        throw new Error(`loop.${name} is not supported`);
      default:
        return undefined;
    }
  }
}

export class Callable {
  readonly name: string;
  readonly call: (args: readonly Value[], keywords: ReadonlyMap<string, Value>) => Value;
  constructor(name: string, call: Callable["call"]) {
    this.name = name;
    this.call = call;
  }
}

/** Keys are strings, whole numbers, or null; Python's other keys are refused. */
export type Dict = Map<Value, Value>;

export type Value =
  | null
  | boolean
  | number
  | string
  | Float
  | readonly Value[]
  | Tuple
  | Range
  | Dict
  | Iterable
  | Markup
  | Undefined
  | Namespace
  | Loop
  | Callable;

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

export function isDict(value: Value): value is Dict {
  return value instanceof Map;
}

/** As Python's errors name it. */
export function typeName(value: Value): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (typeof value === "string") return "str";
  if (isList(value)) return "list";
  if (isDict(value)) return "dict";
  if (value instanceof Undefined) return `undefined (${value.what})`;
  return value.constructor.name.toLowerCase();
}

export function truthy(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  if (value instanceof Float) return value.value !== 0;
  if (isList(value)) return value.length > 0;
  if (value instanceof Tuple || value instanceof Range) return value.items.length > 0;
  if (isDict(value)) return value.size > 0;
  if (value instanceof Iterable) return !value.view || value.items.length > 0;
  if (value instanceof Markup) return value.text !== "";
  return typeof value === "object" || Boolean(value);
}

/** A number for arithmetic and order; undefined for what is none. */
export function numeric(value: Value): number | undefined {
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "number") return value;
  return value instanceof Float ? value.value : undefined;
}

/** The items that a loop sees. Throws for what Python cannot iterate. */
export function iterate(value: Value, budget: Budget): readonly Value[] {
  const items = itemsOf(value);
  budget.step(items.length);
  return items;
}

function itemsOf(value: Value): readonly Value[] {
  if (value instanceof Undefined) return [];
  if (isList(value)) return value;
  if (value instanceof Tuple || value instanceof Range) return value.items;
  if (isDict(value)) return [...value.keys()];
  if (typeof value === "string") return [...value];
  if (value instanceof Iterable) {
    if (value.read && !value.view) throw new Error("a generator is read twice");
    value.read = true;
    return value.items;
  }
  throw new Error(`${typeName(value)} has no items`);
}

/** Python's `==`. */
export function equal(a: Value, b: Value, budget: Budget): boolean {
  budget.step();
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return x === y;
  if (a instanceof Undefined) return b instanceof Undefined;
  if (isList(a)) return isList(b) && allEqual(a, b, budget);
  if (a instanceof Tuple) return b instanceof Tuple && allEqual(a.items, b.items, budget);
  if (a instanceof Range) return b instanceof Range && allEqual(a.items, b.items, budget);
  if (isDict(a)) {
    if (!isDict(b) || a.size !== b.size) return false;
    return [...a].every(([key, value]) => b.has(key) && equal(value, b.get(key) as Value, budget));
  }
  for (const value of [a, b]) {
    if (value instanceof Markup || value instanceof Iterable) throw new Error(`${typeName(value)} is compared`);
  }
  return a === b;
}

function allEqual(a: readonly Value[], b: readonly Value[], budget: Budget): boolean {
  return a.length === b.length && a.every((item, index) => equal(item, b[index] as Value, budget));
}

/** Python's `<`, as -1, 0 or 1; texts by code points. Throws for what has no order. */
export function compare(a: Value, b: Value, budget: Budget): number {
  budget.step();
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return Math.sign(x - y);
  if (typeof a === "string" && typeof b === "string") return compareTexts(a, b);
  const [first, second] = [a instanceof Tuple ? a.items : a, b instanceof Tuple ? b.items : b];
  if (Array.isArray(first) && Array.isArray(second) && isList(a) === isList(b)) {
    for (const [index, item] of first.entries()) {
      if (index >= second.length) return 1;
      if (!equal(item, second[index], budget)) return compare(item, second[index], budget);
    }
    return first.length < second.length ? -1 : 0;
  }
  throw new Error(`${typeName(a)} and ${typeName(b)} have no order`);
}

export function compareTexts(a: string, b: string): number {
  const [x, y] = [[...a], [...b]];
  for (let i = 0; i < x.length && i < y.length; i++) {
    if (x[i] !== y[i]) return (x[i]?.codePointAt(0) ?? 0) < (y[i]?.codePointAt(0) ?? 0) ? -1 : 1;
  }
  return Math.sign(x.length - y.length);
}

/** Checks that it can be a key. */
export function key(value: Value): Value {
  if (value === null || typeof value === "string" || typeof value === "number") return value;
  throw new Error(`${typeName(value)} as a key`);
}
