/** Arguments by position or name, as Python binds them. */
import { isDict, numeric, typeName, type Value } from "./values.ts";

export type Keywords = ReadonlyMap<string, Value>;

/** `parameters`: "chars" must be given, "chars?" need not. Throws for what is missing, unknown, given twice or too much. */
export function bind(
  name: string,
  parameters: readonly string[],
  args: readonly Value[],
  keywords: Keywords,
): (Value | undefined)[] {
  const names = parameters.map((parameter) => parameter.replace("?", ""));
  if (args.length > names.length) throw new Error(`${name}() with ${args.length} arguments`);
  const bound: (Value | undefined)[] = [...args];
  for (const [keyword, value] of keywords) {
    const index = names.indexOf(keyword);
    if (index < 0 || bound[index] !== undefined) throw new Error(`${name}() with the argument ${keyword}`);
    bound[index] = value;
  }
  for (const [index, parameter] of parameters.entries()) {
    if (bound[index] === undefined && !parameter.endsWith("?")) throw new Error(`${name}() without ${parameter}`);
  }
  return bound;
}

export function textArgument(name: string, value: Value | undefined): string {
  if (typeof value === "string") return value;
  throw new Error(`${name}() with ${typeName(value ?? null)} where it takes text`);
}

/** Text, or null where there is none. */
export function optionalText(name: string, value: Value | undefined): string | null {
  return value === undefined || value === null ? null : textArgument(name, value);
}

/** A whole number; `otherwise` where there is none. */
export function wholeArgument(name: string, value: Value | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  const number = typeof value === "boolean" || typeof value === "number" ? numeric(value) : undefined;
  if (number === undefined) throw new Error(`${name}() with ${typeName(value)} where it takes a whole number`);
  return number;
}

export function dictArgument(name: string, value: Value | undefined): ReadonlyMap<Value, Value> {
  if (value !== undefined && isDict(value)) return value;
  throw new Error(`${name}() of ${typeName(value ?? null)}`);
}
