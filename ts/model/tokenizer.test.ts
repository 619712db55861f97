import { readFileSync } from "node:fs";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { ChatMessage } from "./chat/message.ts";
import { renderChat } from "./chat.ts";
import { openModel } from "./source/index.ts";
import type { Manifest } from "./source/manifest.ts";
import { Tokenizer } from "./tokenizer.ts";

/** Written by test/fixtures/tokenizer_ids.py through transformers. */
const golden: {
  texts: { text: string; ids: number[] }[];
  chats: { messages: ChatMessage[]; prompt: string; closed: string }[];
} = JSON.parse(readFileSync(new URL("../../test/fixtures/tokenizer.json", import.meta.url), "utf8"));

let manifest: Manifest;
let tokenizer: Tokenizer;
beforeAll(async () => {
  manifest = await openModel("smollm2");
  tokenizer = Tokenizer.from(manifest);
  for (let id = 0; id < tokenizer.vocabularySize; id++) {
    const bytes = tokenizer.bytesOf(id);
    if (bytes.length === 1) alphabet.add(bytes[0] ?? 0);
  }
});

/** Bytes that have a token. The demo model lacks a few (0xF1 is one), which transformers loses as well. */
const alphabet = new Set<number>();
const expressible = (text: string) => Buffer.from(text).every((byte) => alphabet.has(byte));

describe("the demo model's tokenizer", () => {
  it.each(golden.texts.map(({ text, ids }) => [JSON.stringify(text).slice(0, 60), text, ids] as const))(
    "gives the ids that transformers gives: %s",
    (_, text, ids) => {
      expect(tokenizer.encode(text)).toEqual(ids);
    },
  );
});

describe("text that comes back", () => {
  it("is the text that went in, for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 200 }).filter(expressible), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
    );
  });

  it("keeps the spaces before punctuation that other decoders clean up", () => {
    const text = "a , b . c ! do n't";
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it("leaves control tokens out when asked", () => {
    const ids = tokenizer.encode("<|im_start|>user\nhi<|im_end|>");
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("user\nhi");
  });
});

describe("text that is streamed", () => {
  it("never has half a character, and is the whole text in the end", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 20 }).filter(expressible), (text) => {
        const stream = tokenizer.streamDecoder();
        const pieces = tokenizer.encode(text).map((id) => stream.push(id));
        expect(pieces.some((piece) => piece.includes("\ufffd") && !text.includes("\ufffd"))).toBe(false);
        expect(pieces.join("") + stream.end()).toBe(text);
      }),
    );
  });

  it("is what decode gives for any ids, also for those that are no text", () => {
    const id = fc.integer({ min: 0, max: tokenizer.vocabularySize - 1 });
    fc.assert(
      fc.property(fc.array(id, { maxLength: 50 }), fc.boolean(), (ids, skipSpecialTokens) => {
        const stream = tokenizer.streamDecoder({ skipSpecialTokens });
        const text = ids.map((each) => stream.push(each)).join("") + stream.end();
        expect(text).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
        expect(Buffer.from(text).toString("utf8")).toBe(text);
      }),
    );
  });

  it("waits with an emoji until all its bytes are there", () => {
    const stream = tokenizer.streamDecoder();
    const pieces = tokenizer.encode("🦩").map((id) => stream.push(id));
    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.filter((piece) => piece !== "")).toEqual(["🦩"]);
  });

  it("refuses ids that the model does not have", () => {
    for (const id of [-1, 1.5, Number.NaN, tokenizer.vocabularySize])
      expect(() => tokenizer.streamDecoder().push(id)).toThrow(
        expect.objectContaining({ code: "OCTAVO_TOKEN_OUT_OF_RANGE" }),
      );
  });
});

describe("a SentencePiece vocabulary", () => {
  const vocab = ["<unk>", "<s>", "</s>", "<0xF0>", "<0x9F>", "<0xA6>", "<0xA9>", "▁", "a", "b", "▁a", "ab", "▁ab"];
  const sentencePiece: Manifest = {
    path: "tiny",
    format: "safetensors",
    tensors: new Map(),
    config: { vocab_size: 16, eos_token_id: 2 },
    tokenizer: {
      tokenizerJson: {
        added_tokens: [0, 1, 2].map((id) => ({ id, content: vocab[id], special: true })),
        normalizer: {
          type: "Sequence",
          normalizers: [
            { type: "Prepend", prepend: "▁" },
            { type: "Replace", pattern: { String: " " }, content: "▁" },
          ],
        },
        pre_tokenizer: null,
        post_processor: {
          type: "TemplateProcessing",
          single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
          pair: [],
          special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
        },
        decoder: {
          type: "Sequence",
          decoders: [
            { type: "Replace", pattern: { String: "▁" }, content: " " },
            { type: "ByteFallback" },
            { type: "Fuse" },
            { type: "Strip", content: " ", start: 1, stop: 0 },
          ],
        },
        model: {
          type: "BPE",
          unk_token: "<unk>",
          fuse_unk: true,
          byte_fallback: true,
          vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
          merges: ["▁ a", "a b", "▁a b", "▁ ab"],
        },
      },
      tokenizerConfig: { bos_token: { content: "<s>" }, eos_token: "</s>" },
    },
  };

  it("starts texts with its first token, and rendered chats without", () => {
    const tiny = Tokenizer.from(sentencePiece);
    expect(tiny.encode("ab a")).toEqual([1, 12, 10]);
    expect(tiny.encode("ab a", { addSpecialTokens: false })).toEqual([12, 10]);
    expect([tiny.bosId, tiny.eosIds, tiny.vocabularySize]).toEqual([1, [2], 16]);
  });

  it("takes away the space it added, but not the one between a prompt and its continuation", () => {
    const tiny = Tokenizer.from(sentencePiece);
    expect(tiny.decode(tiny.encode("ab a"), { skipSpecialTokens: true })).toBe("ab a");
    expect(tiny.decode([12, 10], { continuation: true })).toBe(" ab a");
  });

  it("joins the bytes of characters that have no token, and has no text for ids that only pad", () => {
    const tiny = Tokenizer.from(sentencePiece);
    expect(tiny.decode(tiny.encode("a🦩b"), { skipSpecialTokens: true })).toBe("a🦩b");
    expect(tiny.decode([15])).toBe("");
  });
});

describe("chats", () => {
  it("are rendered as transformers renders them", () => {
    for (const { messages, prompt, closed } of golden.chats) {
      expect(renderChat(tokenizer, messages)).toBe(prompt);
      expect(renderChat(tokenizer, messages, { addGenerationPrompt: false })).toBe(closed);
    }
  });

  const user = [{ role: "user", content: "hi" }] as const;
  const refused = (chatTemplate: string | undefined, code: string, message: RegExp) =>
    expect(() => renderChat({ chatTemplate, specialTokens: {} }, user)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );

  it("need a template, and say what to do without one", () => refused(undefined, "OCTAVO_UNSUPPORTED_MODEL", /--raw/));

  it("are refused in the words of the template", () =>
    refused("{{ raise_exception('roles must alternate') }}", "OCTAVO_BAD_ARGUMENT", /roles must alternate/));

  it("do not stop the process when a template has an endless loop or a huge range", () => {
    refused("{% for i in range(1000000000) %}{% endfor %}", "OCTAVO_UNSUPPORTED_MODEL", /1000000000/);
    const nested = "{% for i in range(99999) %}".repeat(3) + "{% endfor %}".repeat(3);
    refused(nested, "OCTAVO_UNSUPPORTED_MODEL", /2,000,000 steps/);
  });

  it("with a template that is not Jinja are refused", () =>
    refused("{% if", "OCTAVO_UNSUPPORTED_MODEL", /does not run/));

  it("without messages, or with a role that is none, are refused", () => {
    const bad = expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT" });
    expect(() => renderChat(tokenizer, [])).toThrow(bad);
    expect(() => renderChat(tokenizer, [{ role: "robot" as "user", content: "hi" }])).toThrow(bad);
  });
});
