/**
 * `worker/octavo_worker/generated/messages.py`: every schema of `messages.ts` as a msgspec Struct that refuses the same
 * values. Exported schemas give the Python names; members of a union are named after their tag and the union.
 */
import { z } from "zod";
import * as messages from "../messages.ts";
import { DTYPES, LAYOUTS, OPS } from "../ops.ts";
import { SIZE_SYMBOLS } from "../sizes.ts";
import { SOURCE_TYPE_NAMES } from "../source-types.ts";
import { bracketed, HEADER, text } from "./python.ts";

const MAX_INTEGER = Number.MAX_SAFE_INTEGER;

/** Annotations that occur often enough to deserve a name. */
const ALIASES = new Map([
  ["Count", `Annotated[int, Meta(ge=0, le=${MAX_INTEGER})]`],
  ["Handle", `Annotated[int, Meta(ge=1, le=${MAX_INTEGER})]`],
  ["Integer", `Annotated[int, Meta(ge=${-MAX_INTEGER}, le=${MAX_INTEGER})]`],
  // A comparison with NaN is false, so the bounds refuse NaN as well as both infinities.
  ["Finite", "Annotated[float, Meta(ge=-1.7976931348623157e308, le=1.7976931348623157e308)]"],
  ["Name", "Annotated[str, Meta(max_length=256)]"],
]);
const ENUMS = new Map<string, readonly string[]>([
  ["DType", DTYPES],
  ["Layout", LAYOUTS],
  ["OpName", Object.keys(OPS)],
  ["SourceType", SOURCE_TYPE_NAMES],
  ["SizeSymbol", SIZE_SYMBOLS],
]);
/** Unions whose members' names are clear without the union's. */
const TOP_LEVEL: ReadonlyMap<string, string> = new Map([
  ["requests", "Request"],
  ["replies", "Reply"],
]);

function pascal(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

class StructWriter {
  readonly #names = new Map<z.core.$ZodType, string>();
  readonly #written = new Set<string>();
  readonly blocks: string[] = [];

  constructor(named: ReadonlyMap<z.core.$ZodType, string>) {
    this.#names = new Map(named);
  }

  /** The annotation of `schema`; classes that it needs are written first. */
  annotation(schema: z.core.$ZodType): string {
    if (schema instanceof z.ZodNumber) return number(schema);
    if (schema instanceof z.ZodString) return alias(constrained("str", null, schema.maxLength));
    if (schema instanceof z.ZodBoolean) return "bool";
    if (schema instanceof z.ZodEnum) return enumeration(schema.options.map(String));
    if (schema instanceof z.ZodArray) {
      const { minimum, maximum } = arrayBounds(schema);
      return constrained(`tuple[${this.annotation(schema.element)}, ...]`, minimum, maximum);
    }
    const name = this.#names.get(schema);
    if (name === undefined)
      throw new Error(`export this ${schema._zod.def.type} from messages.ts, so that it has a name`);
    if (schema instanceof z.ZodObject) this.struct(name, schema);
    else if (schema instanceof z.ZodDiscriminatedUnion) this.union(name, schema);
    else throw new Error(`the generator does not know ${schema._zod.def.type}; see the list in messages.ts`);
    return name;
  }

  struct(name: string, schema: z.ZodObject): void {
    if (this.#written.has(name)) return;
    this.#written.add(name);
    if (schema.def.catchall?._zod.def.type !== "never") throw new Error(`${name} must be a strictObject`);
    const options = ["frozen=True", "forbid_unknown_fields=True", "kw_only=True"];
    const fields: string[] = [];
    for (const [key, field] of Object.entries(schema.shape)) {
      if (field instanceof z.ZodLiteral) options.push(`tag_field=${text(key)}`, `tag=${text(String(field.value))}`);
      else if (field instanceof z.ZodOptional)
        fields.push(`    ${key}: ${this.annotation(field.unwrap())} | UnsetType = UNSET`);
      else fields.push(`    ${key}: ${this.annotation(field)}`);
    }
    const head = `${bracketed(`class ${name}`, "(", ["Struct", ...options], ")")}:`;
    this.blocks.push(`${head}\n${fields.length > 0 ? fields.join("\n") : "    pass"}`);
  }

  union(name: string, schema: z.ZodDiscriminatedUnion): void {
    if (this.#written.has(name)) return;
    this.#written.add(name);
    const members = schema.options.map((member) => {
      if (!(member instanceof z.ZodObject)) throw new Error(`members of ${name} must be strictObjects`);
      const tag: unknown = member.shape[schema.def.discriminator];
      if (!(tag instanceof z.ZodLiteral))
        throw new Error(`members of ${name} need a literal ${schema.def.discriminator}`);
      const memberName = `${pascal(String(tag.value))}${[...TOP_LEVEL.values()].includes(name) ? "" : name}`;
      this.struct(memberName, member);
      return memberName;
    });
    this.blocks.push(unionOf(name, members));
  }
}

function unionOf(name: string, members: readonly string[]): string {
  const oneLine = `${name} = ${members.join(" | ")}`;
  if (oneLine.length <= 120) return oneLine;
  const inside = `    ${members.join(" | ")}`;
  return `${name} = (\n${inside.length <= 120 ? inside : `    ${members.join("\n    | ")}`}\n)`;
}

function constrained(type: string, minimum: number | null, maximum: number | null): string {
  const bounds: string[] = [];
  if (minimum !== null) bounds.push(`min_length=${minimum}`);
  if (maximum !== null) bounds.push(`max_length=${maximum}`);
  return bounds.length === 0 ? type : `Annotated[${type}, Meta(${bounds.join(", ")})]`;
}

function alias(annotation: string): string {
  for (const [name, meaning] of ALIASES) if (meaning === annotation) return name;
  return annotation;
}

function number(schema: z.ZodNumber): string {
  if (!(schema instanceof z.ZodNumberFormat)) return "Finite";
  // z.int() stops at the safe integers whatever else is asked for.
  const minimum = Math.max(schema.minValue ?? -MAX_INTEGER, -MAX_INTEGER);
  const maximum = Math.min(schema.maxValue ?? MAX_INTEGER, MAX_INTEGER);
  return alias(`Annotated[int, Meta(ge=${minimum}, le=${maximum})]`);
}

function enumeration(options: readonly string[]): string {
  for (const [name, values] of ENUMS) if (values.join() === options.join()) return name;
  return `Literal[${options.map(text).join(", ")}]`;
}

function arrayBounds(schema: z.ZodArray): { minimum: number | null; maximum: number | null } {
  let minimum: number | null = null;
  let maximum: number | null = null;
  for (const check of schema.def.checks ?? []) {
    const def = check._zod.def as { check: string; minimum?: number; maximum?: number };
    if (def.check === "min_length") minimum = def.minimum ?? null;
    else if (def.check === "max_length") maximum = def.maximum ?? null;
    else throw new Error(`the generator does not know the array check ${def.check}`);
  }
  return { minimum, maximum };
}

export function messagesPython(): string {
  const named = new Map<z.core.$ZodType, string>();
  for (const [name, item] of Object.entries(messages)) {
    if (item instanceof z.ZodType) named.set(item, TOP_LEVEL.get(name) ?? pascal(name));
  }
  const writer = new StructWriter(named);
  for (const schema of [messages.hello, messages.requests, messages.replies]) writer.annotation(schema);

  return `"""The messages of protocol/messages.ts, as strict. An absent optional field is UNSET.

${HEADER}
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

PROTOCOL_VERSION = ${messages.PROTOCOL_VERSION}
MAX_HEADER_BYTES = ${messages.MAX_HEADER_BYTES}
MAX_DEPTH = ${messages.MAX_DEPTH}
SHARED_MEMORY_THRESHOLD = ${messages.SHARED_MEMORY_THRESHOLD}
PAYLOAD_ALIGNMENT = ${messages.PAYLOAD_ALIGNMENT}

${[...ALIASES].map(([name, meaning]) => `${name} = ${meaning}`).join("\n")}

${[...ENUMS].map(([name, values]) => bracketed(`${name} = `, "Literal[", values.map(text), "]")).join("\n")}


${writer.blocks.join("\n\n\n")}
`;
}
