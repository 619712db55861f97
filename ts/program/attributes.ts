/** Attributes of an op call: checked against the op table, with defaults filled in, in the table's order. */
import { type Attribute, OPS, type OpName } from "../../protocol/ops.ts";
import { checkObject } from "../arguments.ts";
import { badArgument } from "../errors.ts";
import { cut, quoted } from "../quoted.ts";
import type { AttributeValue } from "./program.ts";

type OpTable = typeof OPS;

type ValueOf<A> = A extends { type: "number" | "integer" }
  ? number
  : A extends { type: "boolean" }
    ? boolean
    : A extends { type: "enum"; values: readonly (infer V)[] }
      ? V
      : never;

/** The attributes that a caller of op `N` gives: those with a default may be left out. */
export type AttributesOf<N extends OpName> = {
  readonly [K in keyof OpTable[N]["attributes"] as OpTable[N]["attributes"][K] extends { default: unknown }
    ? never
    : K]: ValueOf<OpTable[N]["attributes"][K]>;
} & {
  readonly [K in keyof OpTable[N]["attributes"] as OpTable[N]["attributes"][K] extends { default: unknown }
    ? K
    : never]?: ValueOf<OpTable[N]["attributes"][K]> | undefined;
};

/** Throws `OCTAVO_BAD_ARGUMENT` for an attribute that is unknown, missing, of a wrong type, or out of range. */
export function checkAttributes(
  op: OpName,
  where: string,
  given: Readonly<Record<string, unknown>>,
): Readonly<Record<string, AttributeValue>> {
  checkObject(given, `${where}: attributes`);
  const table: Readonly<Record<string, Attribute>> = OPS[op].attributes;
  for (const name of Object.keys(given))
    if (!Object.hasOwn(table, name))
      throw badArgument(
        `${where}: no attribute ${cut(name, 80)}; ${op} has ${Object.keys(table).join(", ") || "none"}`,
      );
  const result: Record<string, AttributeValue> = {};
  for (const [name, attribute] of Object.entries(table)) {
    const value = given[name] === undefined ? attribute.default : given[name];
    if (!accepts(attribute, value))
      throw badArgument(
        `${where}: attribute ${name} is ${value === undefined ? "missing" : quoted(value)}; it takes ${describe(attribute)}`,
      );
    result[name] = value;
  }
  return result;
}

function accepts(attribute: Attribute, value: unknown): value is AttributeValue {
  switch (attribute.type) {
    case "boolean":
      return typeof value === "boolean";
    case "enum":
      return typeof value === "string" && attribute.values.includes(value);
    case "integer":
      return Number.isSafeInteger(value) && (value as number) >= attribute.min && (value as number) <= attribute.max;
    case "number":
      return (
        Number.isFinite(value) &&
        (value as number) >= (attribute.min ?? -Infinity) &&
        (value as number) <= (attribute.max ?? Infinity)
      );
  }
}

function describe(attribute: Attribute): string {
  switch (attribute.type) {
    case "boolean":
      return "true or false";
    case "enum":
      return `one of ${attribute.values.join(", ")}`;
    case "integer":
      return `an integer from ${attribute.min} to ${attribute.max}`;
    case "number":
      return `a finite number${attribute.min === undefined ? "" : ` from ${attribute.min}`}${
        attribute.max === undefined ? "" : ` to ${attribute.max}`
      }`;
  }
}
