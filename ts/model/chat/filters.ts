/** What follows `|`. Jinja's filters, with transformers' `tojson`; others are refused. */
import { bind, dictArgument, type Keywords, optionalText, wholeArgument } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { items, joinAll, subscript } from "./methods.ts";
import { length } from "./operators.ts";
import { toJson, toText } from "./print.ts";
import { capitalize, replace, splitLines, strip } from "./python-text.ts";
import { test } from "./tests.ts";
import {
  compare,
  equal,
  Float,
  Iterable,
  isDict,
  isList,
  iterate,
  Markup,
  numeric,
  Tuple,
  truthy,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

interface Filter {
  readonly parameters: readonly string[];
  readonly run: (input: Value, args: readonly (Value | undefined)[], budget: Budget) => Value;
}

const text = (change: (text: string, budget: Budget) => string): Filter => ({
  parameters: [],
  run: (input, _, budget) => change(plainText(input, budget), budget),
});

/** `str(value)` of a filter's operand. */
function plainText(value: Value, budget: Budget): string {
  if (value instanceof Markup) throw new Error("a filter of text that is marked as safe");
  return toText(value, budget);
}

const size: Filter = { parameters: [], run: (input) => length(input) };

const fallback: Filter = {
  parameters: ["default_value?", "boolean?"],
  run: (input, [otherwise = "", falsy = false]) =>
    input instanceof Undefined || (truthy(falsy) && !truthy(input)) ? otherwise : input,
};

/** An item's attribute by a path with dots ("function.name"), or a place in a list. */
function attributeOf(item: Value, path: Value, budget: Budget): Value {
  if (typeof path === "number") return subscript(item, path, budget);
  if (typeof path !== "string") throw new Error(`an attribute by ${typeName(path)}`);
  let value = item;
  for (const part of path.split(".")) value = subscript(value, /^[0-9]+$/.test(part) ? Number(part) : part, budget);
  return value;
}

/** What is compared in place of a value where letters' case does not count. */
const folded = (value: Value): Value => (typeof value === "string" ? value.toLowerCase() : value);

function sorted(values: readonly Value[], by: (value: Value) => Value, reverse: boolean, budget: Budget): Value[] {
  const keyed = values.map((value) => ({ value, by: by(value) }));
  // As in Python, what is equal keeps its order, reversed or not.
  keyed.sort((a, b) => (reverse ? -1 : 1) * compare(a.by, b.by, budget));
  return keyed.map(({ value }) => value);
}

/** `select` and its like: by name of a test, or by truth. */
function selection(wanted: boolean, byAttribute: boolean): FilterFunction {
  return (input, args, keywords, budget) => {
    if (keywords.size > 0) throw new Error("select() with keywords");
    // As in Jinja, nothing is looked at when there is nothing to select from: not even whether it could be.
    if (!truthy(input)) return new Iterable([], false);
    const [path, rest] = byAttribute ? [args[0], args.slice(1)] : [undefined, args];
    if (byAttribute && path === undefined) throw new Error("selectattr() without an attribute");
    const [name, ...others] = rest;
    const chosen = iterate(input, budget).filter((item) => {
      const value = path === undefined ? item : attributeOf(item, path, budget);
      if (name !== undefined && typeof name !== "string") throw new Error(`a test by ${typeName(name)}`);
      return (name === undefined ? truthy(value) : test(name, value, others, budget)) === wanted;
    });
    return new Iterable(chosen, false);
  };
}

function mapped(input: Value, args: readonly Value[], keywords: Keywords, budget: Budget): Value {
  if (!truthy(input)) return new Iterable([], false);
  const list = iterate(input, budget);
  const path = keywords.get("attribute");
  if (path === undefined) {
    const [name, ...others] = args;
    if (typeof name !== "string") throw new Error("map() without a filter");
    return new Iterable(
      list.map((item) => filter(name, item, others, keywords, budget)),
      false,
    );
  }
  const otherwise = keywords.get("default");
  if (args.length > 0 || keywords.size > (otherwise === undefined ? 1 : 2)) throw new Error("map() with more");
  const values = list.map((item) => {
    const value = attributeOf(item, path, budget);
    return value instanceof Undefined && otherwise !== undefined ? otherwise : value;
  });
  return new Iterable(values, false);
}

function json(
  input: Value,
  [ascii = false, indent = null, separators = null, sortKeys = false]: readonly (Value | undefined)[],
  budget: Budget,
): string {
  const given = separators instanceof Tuple ? separators.items : separators;
  const [item, key] = isList(given) ? given : [indent === null ? ", " : ",", ": "];
  if (typeof item !== "string" || typeof key !== "string") throw new Error("tojson() with other separators");
  const width = typeof indent === "string" ? indent : " ".repeat(Math.max(0, wholeArgument("tojson", indent ?? 0, 0)));
  budget.text(width.length);
  const options = {
    ascii: truthy(ascii),
    indent: indent === null ? undefined : width,
    separators: [item, key] as const,
    sortKeys: truthy(sortKeys),
  };
  return toJson(input, options, budget);
}

function indented(
  input: Value,
  [width = 4, first = false, blank = false]: readonly (Value | undefined)[],
  budget: Budget,
): string {
  const amount = typeof width === "string" ? width.length : wholeArgument("indent", width, 4);
  if (typeof input !== "string") throw new Error(`${typeName(input)}|indent`);
  const lines = splitLines(`${input}\n`, budget);
  budget.text(lines.reduce((sum, line) => sum + line.length + amount + 1, 0));
  const by = typeof width === "string" ? width : " ".repeat(Math.max(0, amount));
  const body = lines.map((line, index) => (index > 0 && (truthy(blank) || line !== "") ? by : "") + line).join("\n");
  return (truthy(first) ? by : "") + body;
}

function toInteger(input: Value, otherwise: Value): Value {
  if (input instanceof Undefined) throw new Error(`${typeName(input)}|int`);
  const value = typeof input === "string" ? parsed(input) : numeric(input);
  if (value === undefined) return otherwise;
  if (!Number.isSafeInteger(Math.trunc(value))) throw new Error(`the number ${value}`);
  return Math.trunc(value);
}

function toFloat(input: Value, otherwise: Value): Value {
  if (input instanceof Undefined) throw new Error(`${typeName(input)}|float`);
  const value = typeof input === "string" ? parsed(input) : numeric(input);
  return value === undefined ? otherwise : new Float(value);
}

/** A number as Python's `int` and `float` read it from plain digits; what else they would read is refused. */
function parsed(input: string): number | undefined {
  const digits = strip(input, null, "both");
  if (/^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i.test(digits)) return Number(digits);
  if (/^[+-]?(inf|infinity|nan)$|[0-9]_|[^\0-\x7f]/i.test(digits))
    throw new Error(`"${digits.slice(0, 20)}" as a number`);
  return undefined;
}

const FILTERS: Readonly<Record<string, Filter>> = {
  length: size,
  count: size,
  default: fallback,
  d: fallback,
  trim: {
    parameters: ["chars?"],
    run: (input, [chars], budget) => strip(plainText(input, budget), optionalText("trim", chars), "both"),
  },
  string: { parameters: [], run: (input, _, budget) => (input instanceof Markup ? input : toText(input, budget)) },
  safe: { parameters: [], run: (input, _, budget) => new Markup(toText(input, budget)) },
  lower: text((value) => value.toLowerCase()),
  upper: text((value) => value.toUpperCase()),
  capitalize: text(capitalize),
  tojson: { parameters: ["ensure_ascii?", "indent?", "separators?", "sort_keys?"], run: json },
  indent: { parameters: ["width?", "first?", "blank?"], run: indented },
  replace: {
    parameters: ["old", "new", "count?"],
    run: (input, [old, by, most], budget) =>
      replace(
        plainText(input, budget),
        plainText(old ?? null, budget),
        plainText(by ?? null, budget),
        wholeArgument("replace", most ?? undefined, -1),
        budget,
      ),
  },
  join: {
    parameters: ["d?", "attribute?"],
    run: (input, [separator = "", path], budget) => {
      const list = iterate(input, budget);
      const values = path === undefined ? list : list.map((item) => attributeOf(item, path, budget));
      return joinAll(
        toText(separator, budget),
        values.map((value) => toText(value, budget)),
        budget,
      );
    },
  },
  list: { parameters: [], run: (input, _, budget) => [...iterate(input, budget)] },
  items: {
    parameters: [],
    run: (input, _, budget) =>
      input instanceof Undefined ? new Iterable([], false) : items(dictArgument("items", input), false, budget),
  },
  first: {
    parameters: [],
    run: (input, _, budget) => iterate(input, budget)[0] ?? ifEmpty(input, budget, "the first of nothing"),
  },
  last: {
    parameters: [],
    run: (input, _, budget) => {
      if (input instanceof Iterable && !input.view) throw new Error("the last of a generator");
      return iterate(input, budget).at(-1) ?? ifEmpty(input, budget, "the last of nothing");
    },
  },
  reverse: {
    parameters: [],
    run: (input, _, budget) => {
      if (typeof input === "string") return [...input].reverse().join("");
      if (input instanceof Iterable && !input.view) throw new Error("a generator in reverse");
      return new Iterable([...iterate(input, budget)].reverse(), false);
    },
  },
  int: { parameters: ["default?"], run: (input, [otherwise = 0]) => toInteger(input, otherwise) },
  float: { parameters: ["default?"], run: (input, [otherwise = new Float(0)]) => toFloat(input, otherwise) },
  dictsort: {
    parameters: ["case_sensitive?", "by?", "reverse?"],
    run: (input, [exact = false, by = "key", reverse = false], budget) => {
      const place = by === "key" ? 0 : by === "value" ? 1 : undefined;
      if (place === undefined) throw new Error("dictsort() by other than key or value");
      const entries = [...dictArgument("dictsort", input)].map((entry) => new Tuple(entry));
      const of = (entry: Value): Value => (entry as Tuple).items[place] ?? null;
      return sorted(entries, (entry) => (truthy(exact) ? of(entry) : folded(of(entry))), truthy(reverse), budget);
    },
  },
  sort: {
    parameters: ["reverse?", "case_sensitive?", "attribute?"],
    run: (input, [reverse = false, exact = false, path = null], budget) => {
      if (typeof path === "string" && path.includes(",")) throw new Error("sort() by several attributes");
      const by = (item: Value) => (path === null ? item : attributeOf(item, path, budget));
      const key = (item: Value) => (truthy(exact) ? by(item) : folded(by(item)));
      return sorted(iterate(input, budget), key, truthy(reverse), budget);
    },
  },
  unique: {
    parameters: ["case_sensitive?", "attribute?"],
    run: (input, [exact = false, path = null], budget) => {
      const seen: Value[] = [];
      const chosen = iterate(input, budget).filter((item) => {
        const value = path === null ? item : attributeOf(item, path, budget);
        const key = truthy(exact) ? value : folded(value);
        if (isList(key) || isDict(key)) throw new Error(`unique() of ${typeName(key)}`);
        if (seen.some((other) => equal(other, key, budget))) return false;
        seen.push(key);
        return true;
      });
      return new Iterable(chosen, false);
    },
  },
  min: extreme(-1),
  max: extreme(1),
};

function extreme(sign: number): Filter {
  return {
    parameters: ["case_sensitive?", "attribute?"],
    run: (input, [exact = false, path = null], budget) => {
      const by = (item: Value) => (path === null ? item : attributeOf(item, path, budget));
      const key = (item: Value) => (truthy(exact) ? by(item) : folded(by(item)));
      const list = iterate(input, budget);
      if (list.length === 0) return new Undefined("the extreme of nothing");
      return list.reduce((best, item) => (compare(key(item), key(best), budget) === sign ? item : best));
    },
  };
}

/** An item that is null is one. */
function ifEmpty(input: Value, budget: Budget, what: string): Value {
  const empty = input instanceof Iterable ? input.items.length === 0 : iterate(input, budget).length === 0;
  return empty ? new Undefined(what) : null;
}

type FilterFunction = (input: Value, args: readonly Value[], keywords: Keywords, budget: Budget) => Value;

const SELECTIONS: Readonly<Record<string, FilterFunction>> = {
  select: selection(true, false),
  reject: selection(false, false),
  selectattr: selection(true, true),
  rejectattr: selection(false, true),
  map: mapped,
};

export function filter(name: string, input: Value, args: readonly Value[], keywords: Keywords, budget: Budget): Value {
  budget.step();
  if (typeof input === "string") budget.text(0, input.length);
  const list = Object.hasOwn(SELECTIONS, name) ? SELECTIONS[name] : undefined;
  if (list !== undefined) return list(input, args, keywords, budget);
  const found = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined;
  if (found === undefined) throw new Error(`the filter "${name}" is not supported`);
  return found.run(input, bind(name, found.parameters, args, keywords), budget);
}
