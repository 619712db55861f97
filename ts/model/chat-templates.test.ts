/** Public chat templates render to the character as transformers renders them, or both refuse. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type ChatMessage, renderChat } from "./chat.ts";

interface Golden {
  readonly chats: readonly (readonly ChatMessage[])[];
  /** Chat and whether the prompt for an answer is added. */
  readonly runs: readonly (readonly [chat: number, prompt: boolean])[];
  readonly specialTokens: Readonly<Record<string, string>>;
  readonly texts: readonly string[];
  /** Per run, an index into texts, or null where transformers refuses. */
  readonly templates: readonly {
    readonly name: string;
    readonly source: string;
    readonly texts: readonly (number | null)[];
  }[];
}

// Made by test/fixtures/chat_templates.py.
const packed = readFileSync(new URL("../../test/fixtures/chat-templates.json.gz", import.meta.url));
const golden = JSON.parse(gunzipSync(packed).toString()) as Golden;

beforeAll(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: new Date(2026, 2, 5, 14, 7, 9) });
});
afterAll(() => {
  vi.useRealTimers();
});

describe("a public template renders as in transformers", () => {
  it.each(golden.templates.map((template) => [template.name, template] as const))("%s", (_, { source, texts }) => {
    for (const [index, [chat, prompt]] of golden.runs.entries()) {
      const expected = texts[index] ?? null;
      const render = () =>
        renderChat(
          { chatTemplate: source, specialTokens: golden.specialTokens },
          golden.chats[chat] as readonly ChatMessage[],
          { addGenerationPrompt: prompt },
        );
      if (expected === null) expect(render, `chat ${chat}`).toThrow(/chat template/);
      else expect(render(), `chat ${chat}`).toBe(golden.texts[expected]);
    }
  });
});
