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

/** Throws `OCTAVO_BAD_ARGUMENT` for what cannot name a model; `form` is a call as it should be. */
export function checkModelName(model: unknown, form: string): void {
  if (typeof model === "string" && model.trim() !== "") return;
  const text = `the model is ${show(model)}; it takes a folder, a .gguf file, a hub id, or smollm2: ${form}`;
  throw new OctavoError("OCTAVO_BAD_ARGUMENT", text);
}

/** Throws `OCTAVO_BAD_ARGUMENT` for what is no list of messages. What each of them may be depends on the chat template. */
export function checkMessageList(messages: unknown): asserts messages is readonly object[] {
  const form = 'engine.chat([{ role: "user", content: "Why is the sky blue?" }])';
  if (!Array.isArray(messages))
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `messages are ${show(messages)}; they take a list: ${form}`);
  for (let index = 0; index < messages.length; index++) {
    const message: unknown = messages[index];
    if (typeof message === "object" && message !== null && !Array.isArray(message)) continue;
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `message ${index} is ${show(message)}; messages are objects: ${form}`);
  }
}

/** Throws `OCTAVO_BAD_ARGUMENT` for what is no list of numbers. Whether they are ids is checked with the vocabulary. */
export function checkTokenIds(prompt: unknown): asserts prompt is readonly number[] {
  if (Array.isArray(prompt) || (ArrayBuffer.isView(prompt) && Symbol.iterator in prompt)) return;
  const form = 'engine.generate("The sky is"), or engine.generate([504, 6376]) with token ids';
  throw new OctavoError("OCTAVO_BAD_ARGUMENT", `the prompt is ${show(prompt)}; it takes a text: ${form}`);
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
