/**
 * Expressions and steps of a tokenizer.json that would take for ever, or all memory. If this fails, a file from the internet keeps
 * a server from answering anybody.
 */
import { describe, expect, it } from "vitest";
import { tinyTokenizer } from "../../test/support/tiny-tokenizer.ts";
import { Tokenizer } from "./tokenizer.ts";

const BYTES = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
const BOMB = "(a+)+$";
/** Enough for 2^34 ways. */
const FUSE = `${"a".repeat(34)}!`;

function tokenizer(changes: Readonly<Record<string, unknown>>): Tokenizer {
  const tokenizerJson = { ...tinyTokenizer, ...changes };
  return Tokenizer.from({
    ...{ path: "tiny", format: "safetensors", tensors: new Map(), config: { vocab_size: 300 } },
    tokenizer: { tokenizerJson, tokenizerConfig: {} },
  });
}

const split = (pattern: object) => ({ type: "Split", pattern, behavior: "Isolated", invert: false });
const cutBy = (...patterns: object[]) => ({
  pre_tokenizer: { type: "Sequence", pretokenizers: [...patterns.map(split), BYTES] },
});
const replace = (pattern: object, content: string) => ({ type: "Replace", pattern, content });
/** Tokens before a text, each of them a thousand ids. */
function multiplied(pieces: number): object {
  const name = "<|im_end|>";
  const special = { id: name, ids: Array(1000).fill(2), tokens: Array(1000).fill(name) };
  const single = [
    ...Array(pieces).fill({ SpecialToken: { id: name, type_id: 0 } }),
    { Sequence: { id: "A", type_id: 0 } },
  ];
  return { type: "TemplateProcessing", single, special_tokens: { [name]: special } };
}
const many = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ ...added, id: 300 + i, content: `${i}${"x".repeat(1000)}` }));
const endless = { code: "OCTAVO_UNSUPPORTED_MODEL", message: expect.stringContaining("do not end within") };
const added = {
  id: 1,
  content: FUSE,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: true,
  special: false,
};

describe("an expression that does not end is stopped", () => {
  it("where it cuts text into words, and the text before it does not count", () => {
    const bomb = tokenizer(cutBy({ Regex: `\\s+|${BOMB}` }));
    expect(bomb.encode("the rain")).toEqual(tokenizer(cutBy({ Regex: "\\s+" })).encode("the rain"));
    expect(() => bomb.encode(`${"on ".repeat(2000)}${FUSE}`)).toThrow(expect.objectContaining(endless));
    expect(bomb.encode("the rain").length).toBeGreaterThan(1); // Also after it was stopped.
  }, 30_000);

  it("where it replaces", () => {
    const bomb = tokenizer({ normalizer: replace({ Regex: BOMB }, "b") });
    expect(() => bomb.encode(FUSE)).toThrow(expect.objectContaining(endless));
  }, 30_000);

  it("where it is applied to the file's own tokens", () => {
    const [first, , third] = tinyTokenizer.added_tokens;
    const vocab = Object.fromEntries(Object.entries(tinyTokenizer.model.vocab).filter(([, id]) => id !== 1));
    const bomb = {
      normalizer: replace({ Regex: BOMB }, "b"),
      added_tokens: [first, added, third],
      model: { ...tinyTokenizer.model, vocab },
    };
    expect(() => tokenizer(bomb)).toThrow(expect.objectContaining(endless));
  }, 30_000);
});

describe("expressions that nobody knows", () => {
  it("cut as they say, however many words there are", () => {
    const text = "the rain on 42 ".repeat(3000);
    const unknown = tokenizer(cutBy({ Regex: "\\s?\\p{L}+|\\s?\\p{N}" }));
    const words = text.match(/\s?\p{L}+|\s?\p{N}| /gu) as string[];
    expect(unknown.encode(text)).toEqual(words.flatMap((word) => unknown.encode(word)));
  });

  it("are no expressions when they are strings", () => {
    const { encode } = { encode: (text: string) => tokenizer(cutBy({ String: BOMB })).encode(text) };
    expect(encode(FUSE)).toHaveLength(FUSE.length);
  });
});

describe("what would grow without bound is refused", () => {
  it.each([
    ["a step that makes much of each character", [replace({ Regex: "a" }, "a".repeat(1000))]],
    ["steps that each make more", Array.from({ length: 30 }, () => replace({ String: "a" }, "aa"))],
    ["text put before it", [{ type: "Prepend", prepend: "a".repeat(1e6) }]],
  ])("%s", (_, normalizers) => {
    const growing = tokenizer({ normalizer: { type: "Sequence", normalizers } });
    expect(() => growing.encode("a".repeat(100))).toThrow(
      expect.objectContaining({ code: "OCTAVO_UNSUPPORTED_MODEL" }),
    );
  });

  it.each([
    ["steps without end", cutBy(...Array.from({ length: 1000 }, () => ({ Regex: "a" })))],
    ["bytes of bytes", { pre_tokenizer: { type: "Sequence", pretokenizers: [BYTES, BYTES, BYTES] } }],
    ["an expression as long as a book", cutBy({ Regex: "a|".repeat(1e5) })],
    ["tokens before a text that are multiplied", { post_processor: multiplied(60_000) }],
    ["an added token as long as a page", { added_tokens: [{ ...added, content: "a".repeat(3000) }] }],
    ["added tokens as long as a book together", { added_tokens: [...tinyTokenizer.added_tokens, ...many(1100)] }],
    ["normalisers without end", { normalizer: { type: "Sequence", normalizers: Array(1000).fill({ type: "NFC" }) } }],
  ])("%s", (_, changes) => {
    expect(() => tokenizer(changes)).toThrow(expect.objectContaining({ code: expect.stringMatching(/^OCTAVO_/) }));
  });
});
