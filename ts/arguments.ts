/** Options as callers write them, checked by schemas; what is wrong is said with the value and what is accepted. */
import type { z } from "zod";
import { badArgument } from "./errors.ts";
import { cut, kindOf, quoted } from "./quoted.ts";

/** Of each option: its schema, and the words for what it takes. */
export type Rules<T> = { readonly [K in keyof T]-?: readonly [schema: z.ZodType, takes: string] };

/** Throws `OCTAVO_BAD_ARGUMENT` for an option that has no rule or breaks it. `undefined` is an option not given. */
export function checkOptions<T extends object>(options: T, rules: Rules<T>, where?: string): void {
  checkKeys(options, Object.keys(rules), where);
  for (const [name, value] of Object.entries(options)) {
    const [schema, takes] = rules[name as keyof T];
    if (value !== undefined && !schema.safeParse(value).success)
      throw badArgument(`${prefix(where)}${name} is ${quoted(value)}; it takes ${takes}`);
  }
}

/** Throws `OCTAVO_BAD_ARGUMENT` unless `options` are an object with no other keys than these; `where` names the call. */
export function checkKeys(options: unknown, known: readonly string[], where?: string): asserts options is object {
  if (!isObject(options)) throw badArgument(`${prefix(where)}options are ${quoted(options)}; they take an object`);
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    const meant = near === undefined ? "" : `; did you mean ${near}?`;
    const text = `there is no option ${cut(name, 80)}; there are ${known.join(", ") || "none"}${meant}`;
    throw badArgument(`${prefix(where)}${text}`);
  }
}

/** Throws `OCTAVO_BAD_ARGUMENT` unless `value` is an object whose keys mean something; `what` names it. */
export function checkObject(value: unknown, what: string): asserts value is Readonly<Record<string, unknown>> {
  if (isObject(value)) return;
  throw badArgument(`${what} are ${kindOf(value)}; they take an object`);
}

/** Neither a list nor data, whose keys are places. */
function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

function prefix(where: string | undefined): string {
  return where === undefined ? "" : `${where}: `;
}

/** The name that a misspelt one probably stands for: at most a third of its letters away, rounded up. */
function nearest(name: string, known: readonly string[]): string | undefined {
  if (name.length > 80) return undefined;
  const distances = known.map((word) => ({ word, away: distance(name.toLowerCase(), word.toLowerCase()) }));
  const best = distances.sort((a, b) => a.away - b.away)[0];
  return best !== undefined && best.away <= Math.ceil(name.length / 3) ? best.word : undefined;
}

/** Letters to add, remove or replace (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** Throws `OCTAVO_BAD_ARGUMENT` for what cannot name a model; `form` is a call as it should be. */
export function checkModelName(model: unknown, form: string): void {
  if (typeof model === "string" && model.trim() !== "") return;
  throw badArgument(`the model is ${quoted(model)}; it takes a folder, a .gguf file, a hub id, or smollm2: ${form}`);
}

/** Throws `OCTAVO_BAD_ARGUMENT` for what is no list of messages. What each of them may be depends on the chat template. */
export function checkMessageList(messages: unknown): asserts messages is readonly object[] {
  const form = 'engine.chat([{ role: "user", content: "Why is the sky blue?" }])';
  if (!Array.isArray(messages)) throw badArgument(`messages are ${quoted(messages)}; they take a list: ${form}`);
  for (let index = 0; index < messages.length; index++) {
    const message: unknown = messages[index];
    if (typeof message === "object" && message !== null && !Array.isArray(message)) continue;
    throw badArgument(`message ${index} is ${quoted(message)}; messages are objects: ${form}`);
  }
}

/** Throws `OCTAVO_BAD_ARGUMENT` for what is no list of numbers. Whether they are ids is checked with the vocabulary. */
export function checkTokenIds(prompt: unknown): asserts prompt is readonly number[] {
  if (Array.isArray(prompt) || (ArrayBuffer.isView(prompt) && Symbol.iterator in prompt)) return;
  const form = 'engine.generate("The sky is"), or engine.generate([504, 6376]) with token ids';
  throw badArgument(`the prompt is ${quoted(prompt)}; it takes a text: ${form}`);
}
