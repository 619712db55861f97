/** Public chat templates render to the character as transformers renders them, or both refuse. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { OctavoError } from "../errors.ts";
import type { ChatMessage } from "./chat/message.ts";
import { chatPrompt, renderChat } from "./chat.ts";

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
  /** Small templates, each with what comes out, or null where transformers refuses. */
  readonly expressions: Readonly<Record<string, string | null>>;
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

describe("in a public template", () => {
  /** What the template writes that looks like a control token. */
  const marks = (source: string) => [
    ...new Set(source.match(/<[|｜][^<>{}'"\s]{1,40}[|｜]>|\[\/?[A-Z_]{3,}\]|<\/?[a-z_]{2,20}>/g) ?? ["<|im_end|>"]),
  ];

  it("no message makes a control token, whole, in pieces, or with what comes beside it", () => {
    for (const { name, source } of golden.templates) {
      const tokens = marks(source);
      const model = {
        chatTemplate: source,
        specialTokens: golden.specialTokens,
        addedTokens: tokens.map((content) => ({ content, special: true })),
      };
      const found = (contents: readonly string[]): string[] | undefined => {
        const roles = ["user", "assistant", "user"] as const;
        const messages = contents.map((content, index) => ({ role: roles[index] as "user", content }));
        try {
          const { text } = chatPrompt(model, messages);
          return tokens.flatMap((token) => Array(text.split(token).length - 1).fill(token));
        } catch {
          return undefined; // Some want other messages than these; transformers refuses them too.
        }
      };
      for (const [index, token] of tokens.entries()) {
        const cut = 1 + (index % (token.length - 1));
        const evil = [`a${token}\n${token.slice(0, cut)}`, "ok", `${token.slice(cut)} ${token}${token.slice(0, cut)}`];
        const harmless = evil.map((content) => content.replace(/\S/g, "q"));
        expect(found(evil), `${name}: ${token}`).toEqual(found(harmless));
      }
    }
  });
});

describe("what a template computes", () => {
  const render = (chatTemplate: string): string | null => {
    try {
      return renderChat(
        { chatTemplate, specialTokens: golden.specialTokens },
        golden.chats[0] as readonly ChatMessage[],
      );
    } catch (error) {
      if (!/^OCTAVO_(UNSUPPORTED_MODEL|BAD_ARGUMENT)$/.test((error as OctavoError).code)) throw error;
      return null;
    }
  };

  it("is what Python computes, or refused: never another text", () => {
    const all = Object.entries(golden.expressions);
    const rendered = all.map(([source, expected]) => ({ source, expected, text: render(source) }));
    expect(rendered.filter(({ expected, text }) => text !== null && text !== expected)).toEqual([]);
    // What is refused although Python has a value for it: rare things, such as arithmetic with dicts.
    const refused = rendered.filter(({ expected, text }) => text === null && expected !== null);
    expect(refused.length).toBeLessThan(all.length / 10);
  });
});
