/** What follows a dot: attributes and methods of values, as Jinja's sandbox gives them. */
import { bind, type Keywords, optionalText, textArgument, wholeArgument } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { at } from "./operators.ts";
import { toText } from "./print.ts";
import {
  capitalize,
  characters,
  count,
  replace,
  rsplit,
  type Side,
  split,
  splitLines,
  strip,
  title,
} from "./python-text.ts";
import {
  Callable,
  equal,
  Iterable,
  isDict,
  isList,
  iterate,
  key,
  Loop,
  Markup,
  Namespace,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

interface Method<Self> {
  readonly parameters: readonly string[];
  readonly run: (self: Self, args: readonly (Value | undefined)[], budget: Budget) => Value;
}

const stripping = (name: string, side: Side): Method<string> => ({
  parameters: ["chars?"],
  run: (self, [chars]) => strip(self, optionalText(name, chars), side),
});

const affix = (name: "startswith" | "endswith"): Method<string> => ({
  parameters: ["affix"],
  run: (self, [given]) => {
    const affixes = given instanceof Tuple ? given.items : [given];
    return affixes.some((one) => {
      const text = textArgument(name, one);
      return name === "startswith" ? self.startsWith(text) : self.endsWith(text);
    });
  },
});

/** Whether every character is of the class, and there is one. */
const every = (expression: RegExp): Method<string> => ({ parameters: [], run: (self) => expression.test(self) });

const plain = (change: (text: string) => string): Method<string> => ({ parameters: [], run: (self) => change(self) });

const TEXT_METHODS: Readonly<Record<string, Method<string>>> = {
  strip: stripping("strip", "both"),
  lstrip: stripping("lstrip", "left"),
  rstrip: stripping("rstrip", "right"),
  startswith: affix("startswith"),
  endswith: affix("endswith"),
  lower: plain((text) => text.toLowerCase()),
  upper: plain((text) => text.toUpperCase()),
  title: plain(title),
  capitalize: plain(capitalize),
  isspace: { parameters: [], run: (self) => self !== "" && strip(self, null, "left") === "" },
  isdigit: every(/^[0-9]+$/),
  split: {
    parameters: ["sep?", "maxsplit?"],
    run: (self, [sep, limit], budget) =>
      split(self, optionalText("split", sep), wholeArgument("split", limit, -1), budget),
  },
  rsplit: {
    parameters: ["sep", "maxsplit?"],
    run: (self, [sep, limit], budget) =>
      rsplit(self, textArgument("rsplit", sep), wholeArgument("rsplit", limit, -1), budget),
  },
  splitlines: { parameters: [], run: (self, _, budget) => splitLines(self, budget) },
  partition: {
    parameters: ["sep"],
    run: (self, [sep], budget) => {
      const text = textArgument("partition", sep);
      const [head = "", ...tail] = split(self, text, 1, budget);
      return new Tuple(tail.length === 0 ? [head, "", ""] : [head, text, tail[0] ?? ""]);
    },
  },
  rpartition: {
    parameters: ["sep"],
    run: (self, [sep], budget) => {
      const text = textArgument("rpartition", sep);
      const [head = "", ...tail] = rsplit(self, text, 1, budget);
      return new Tuple(tail.length === 0 ? ["", "", head] : [head, text, tail[0] ?? ""]);
    },
  },
  replace: {
    parameters: ["old", "new", "count?"],
    run: (self, [old, by, most], budget) =>
      replace(
        self,
        textArgument("replace", old),
        textArgument("replace", by),
        wholeArgument("replace", most, -1),
        budget,
      ),
  },
  removeprefix: {
    parameters: ["prefix"],
    run: (self, [given]) => {
      const prefix = textArgument("removeprefix", given);
      return self.startsWith(prefix) ? self.slice(prefix.length) : self;
    },
  },
  removesuffix: {
    parameters: ["suffix"],
    run: (self, [given]) => {
      const suffix = textArgument("removesuffix", given);
      return suffix !== "" && self.endsWith(suffix) ? self.slice(0, -suffix.length) : self;
    },
  },
  find: {
    parameters: ["sub"],
    run: (self, [sub]) => place(self, self.indexOf(textArgument("find", sub))),
  },
  rfind: {
    parameters: ["sub"],
    run: (self, [sub]) => place(self, self.lastIndexOf(textArgument("rfind", sub))),
  },
  count: {
    parameters: ["sub"],
    run: (self, [sub], budget) => count(self, textArgument("count", sub), budget),
  },
  join: {
    parameters: ["items"],
    run: (self, [items], budget) => {
      const texts = iterate(items ?? null, budget).map((item) => textArgument("join", item));
      return joinAll(self, texts, budget);
    },
  },
};

/** `str.format` with fields that are a place or a name, without a format of their own. */
function format(template: string, args: readonly Value[], keywords: Keywords, budget: Budget): string {
  let next = 0;
  const parts = template.split(/(\{\{|\}\}|\{[^{}]*\}|[{}])/).map((part) => {
    if (!part.startsWith("{") && part !== "}" && part !== "}}") return part;
    if (part === "{{" || part === "}}") return part.slice(1);
    const field = part.slice(1, -1);
    if (part.length < 2 || !/^\w*$/.test(field)) throw new Error(`str.format() with ${part.slice(0, 40)}`);
    const value = field === "" ? args[next++] : /^\d+$/.test(field) ? args[Number(field)] : keywords.get(field);
    if (value === undefined) throw new Error(`str.format() without a value for ${part.slice(0, 40)}`);
    const text = toText(value, budget);
    budget.text(text.length);
    return text;
  });
  return joinAll("", parts, budget);
}

function place(text: string, index: number): number {
  return index < 0 ? -1 : characters(text.slice(0, index)).length;
}

export function joinAll(separator: string, texts: readonly string[], budget: Budget): string {
  budget.text(texts.reduce((sum, text) => sum + text.length + separator.length, 0));
  return texts.join(separator);
}

const DICT_METHODS: Readonly<Record<string, Method<ReadonlyMap<Value, Value>>>> = {
  get: {
    parameters: ["key", "default?"],
    run: (self, [name, otherwise]) =>
      self.get(key(name ?? null)) ?? (self.has(name ?? null) ? null : (otherwise ?? null)),
  },
  items: { parameters: [], run: (self, _, budget) => items(self, true, budget) },
  keys: { parameters: [], run: (self) => new Iterable([...self.keys()], true) },
  values: { parameters: [], run: (self) => new Iterable([...self.values()], true) },
  copy: { parameters: [], run: (self) => new Map(self) },
};

export function items(dict: ReadonlyMap<Value, Value>, view: boolean, budget: Budget): Iterable {
  budget.step(dict.size);
  return new Iterable(
    [...dict].map((entry) => new Tuple(entry)),
    view,
  );
}

const LIST_METHODS: Readonly<Record<string, Method<readonly Value[]>>> = {
  count: {
    parameters: ["value"],
    run: (self, [value], budget) => self.filter((item) => equal(item, value ?? null, budget)).length,
  },
  index: {
    parameters: ["value"],
    run: (self, [value], budget) => {
      const index = self.findIndex((item) => equal(item, value ?? null, budget));
      if (index < 0) throw new Error("index() of what is not in the list");
      return index;
    },
  },
};

/** Python's other attributes, which are refused when they are asked for: an undefined one would be a wrong answer. */
const OTHERS = {
  text:
    "casefold center encode expandtabs format_map index isalnum isalpha isascii isdecimal isidentifier islower isnumeric " +
    "isprintable istitle isupper ljust maketrans rindex rjust swapcase translate zfill",
  // The sandbox lets nothing be changed: these are undefined there, and calling them is an error, as it is here.
  dict: "",
  list: "copy",
  number:
    "real imag numerator denominator conjugate bit_length bit_count to_bytes from_bytes as_integer_ratio is_integer hex fromhex",
};

/** `value.name`; undefined where it has none. */
function attribute(value: Value, name: string, budget: Budget): Value | undefined {
  if (value instanceof Undefined) throw new Error(`${typeName(value)}.${name}`);
  if (value instanceof Namespace) return value.attributes.get(name);
  if (value instanceof Loop) return value.attribute(name);
  if (value instanceof Markup) throw new Error(`.${name} of text that is marked as safe`);
  const [methods, others, kind]: readonly [Readonly<Record<string, Method<never>>>, string, string] =
    typeof value === "string"
      ? [TEXT_METHODS, OTHERS.text, "str"]
      : isDict(value)
        ? [DICT_METHODS, OTHERS.dict, "dict"]
        : isList(value) || value instanceof Tuple
          ? [LIST_METHODS, OTHERS.list, "list"]
          : [{}, value === null ? "" : OTHERS.number, typeName(value)];
  if (typeof value === "string" && name === "format")
    return new Callable("str.format", (args, keywords) => format(value, args, keywords, budget));
  const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
  if (method !== undefined) {
    const self = value instanceof Tuple ? value.items : value;
    return new Callable(`${kind}.${name}`, (args, keywords) => {
      if (typeof self === "string") budget.text(0, self.length);
      return method.run(self as never, bind(name, method.parameters, args, keywords), budget);
    });
  }
  if (others.split(" ").includes(name)) throw new Error(`${kind}.${name} is not supported`);
  return undefined;
}

/** `object.name`: an attribute before an item of that name. */
export function dotted(object: Value, name: string, budget: Budget): Value {
  const found = attribute(object, name, budget);
  return found !== undefined ? found : orMissing(object, name, at(object, name));
}

/** `object[index]`: an item before an attribute of that name. */
export function subscript(object: Value, index: Value, budget: Budget): Value {
  const item = at(object, index);
  if (item !== undefined || typeof index !== "string") return orMissing(object, String(index), item);
  return orMissing(object, index, attribute(object, index, budget));
}

function orMissing(object: Value, name: string, found: Value | undefined): Value {
  return found === undefined ? new Undefined(`${name} of ${typeName(object)}`) : found;
}
