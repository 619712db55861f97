/** Values as text: Python's `str` and `repr`, and transformers' `tojson`. */
import type { Budget } from "./budget.ts";
import { compareTexts, Float, isDict, isList, Markup, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** `str(value)`. */
export function toText(value: Value, budget: Budget): string {
  if (typeof value === "string") return value;
  if (value instanceof Markup) return value.text;
  if (value instanceof Undefined) return "";
  return repr(value, budget);
}

export function repr(value: Value, budget: Budget): string {
  budget.step();
  const made = (text: string): string => {
    budget.text(text.length);
    return text;
  };
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  if (value instanceof Float) return floatText(value.value);
  if (typeof value === "string") return made(quote(value));
  if (isList(value)) return made(`[${value.map((item) => repr(item, budget)).join(", ")}]`);
  if (value instanceof Tuple) {
    const items = value.items.map((item) => repr(item, budget));
    return made(items.length === 1 ? `(${items[0]},)` : `(${items.join(", ")})`);
  }
  if (isDict(value)) {
    const entries = [...value].map(([key, item]) => `${repr(key, budget)}: ${repr(item, budget)}`);
    return made(`{${entries.join(", ")}}`);
  }
  if (value instanceof Undefined) return "Undefined";
  throw new Error(`${typeName(value)} is printed`);
}

/** Python writes an exponent from 1e16 on and below 1e-4, JavaScript elsewhere. */
export function floatText(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value) || size >= 1e16 || (size !== 0 && size < 1e-4)) throw new Error(`the float ${value}`);
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(/[\\'"]|(?! )[\p{C}\p{Z}]/gu, (character) => {
    if (character === "'" || character === '"') return character === mark ? `\\${mark}` : character;
    const code = character.codePointAt(0) ?? 0;
    const hex = (digits: number) => code.toString(16).padStart(digits, "0");
    if (NAMED[character] !== undefined) return NAMED[character];
    if (code < 0x100) return `\\x${hex(2)}`;
    return code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
  });
  return mark + body + mark;
}

export interface JsonOptions {
  readonly ascii: boolean;
  /** Undefined: one line. */
  readonly indent: string | undefined;
  readonly separators: readonly [item: string, key: string];
  readonly sortKeys: boolean;
}

/** `json.dumps`. Throws for what JSON has no form for. */
export function toJson(value: Value, options: JsonOptions, budget: Budget, depth = 0): string {
  budget.step();
  const text = (raw: string): string => {
    const quoted = JSON.stringify(raw);
    return options.ascii
      ? quoted.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      : quoted;
  };
  const made = (open: string, items: readonly string[], close: string): string => {
    const { indent } = options;
    const line = (level: number) => (indent === undefined ? "" : `\n${indent.repeat(level)}`);
    const width = items.reduce((sum, item) => sum + item.length + line(depth + 1).length + 2, 2);
    budget.text(width);
    if (items.length === 0) return open + close;
    return open + line(depth + 1) + items.join(options.separators[0] + line(depth + 1)) + line(depth) + close;
  };
  if (value === null) return "null";
  if (typeof value === "boolean" || typeof value === "number") return String(value);
  if (value instanceof Float) return floatText(value.value);
  if (typeof value === "string" || value instanceof Markup) {
    const json = text(typeof value === "string" ? value : value.text);
    budget.text(json.length);
    return json;
  }
  const items = value instanceof Tuple ? value.items : value;
  if (Array.isArray(items)) {
    return made(
      "[",
      items.map((item) => toJson(item, options, budget, depth + 1)),
      "]",
    );
  }
  if (isDict(value)) {
    const keyText = (key: Value) => (typeof key === "string" ? key : toJson(key, options, budget));
    let entries = [...value];
    if (options.sortKeys) {
      if (entries.some(([key]) => typeof key !== "string")) throw new Error("sorting keys that are not texts");
      entries = entries.sort(([a], [b]) => compareTexts(a as string, b as string));
    }
    const parts = entries.map(
      ([key, item]) => text(keyText(key)) + options.separators[1] + toJson(item, options, budget, depth + 1),
    );
    return made("{", parts, "}");
  }
  throw new Error(`${typeName(value)} as JSON`);
}
