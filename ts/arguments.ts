/** Options as callers write them, checked by schemas; what is wrong is said with the value and what is accepted. */
import type { z } from "zod";
import { OctavoError } from "./errors.ts";

/** Of each option: its schema, and the words for what it takes. */
export type Rules<T> = { readonly [K in keyof T]-?: readonly [schema: z.ZodType, takes: string] };

/** Throws `OCTAVO_BAD_ARGUMENT` for an option that has no rule or breaks it. `undefined` is an option not given. */
export function checkOptions<T extends object>(options: T, rules: Rules<T>): void {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `options are ${show(options)}; they take an object`);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(rules, name)) {
      const known = Object.keys(rules).join(", ");
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `there is no option ${name}; there are ${known}`);
    }
    const [schema, takes] = rules[name as keyof T];
    if (value !== undefined && !schema.safeParse(value).success)
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `${name} is ${show(value)}; it takes ${takes}`);
  }
}

/** A value as it stands in code, cut to a length that fits a message. */
export function show(value: unknown): string {
  // JSON turns NaN and infinities into null.
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "function") return String(value);
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    text = undefined;
  }
  const shown = text ?? String(value);
  return shown.length > 80 ? `${shown.slice(0, 77)}...` : shown;
}
