import { describe, expect, it } from "vitest";
import { Tokenizer } from "../tokenizer.ts";
import type { Metadata, MetadataValue } from "./gguf-header.ts";
import { tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { mergesFromScores } from "./sentencepiece-merges.ts";

const [UNKNOWN, CONTROL, BYTE, NORMAL] = [2, 3, 6, 1];
const words = ["▁ab", "bc", "ab", "▁", "a", "b", "c"];
const bytes = [...Array(256).keys()].map((byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
const tokens = ["<unk>", "<s>", "</s>", ...bytes, ...words];

function metadata(changes: Readonly<Record<string, MetadataValue>> = {}): Metadata {
  const values: Record<string, MetadataValue> = {
    model: "llama",
    tokens,
    token_type: [UNKNOWN, CONTROL, CONTROL, ...bytes.map(() => BYTE), ...words.map(() => NORMAL)],
    scores: [0, 0, 0, ...bytes.map(() => 0), ...words.map((_, rank) => -rank)],
    bos_token_id: 1,
    eos_token_id: 2,
    unknown_token_id: 0,
    ...changes,
  };
  return new Map(Object.entries(values).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
}

function tokenizer(changes?: Readonly<Record<string, MetadataValue>>): Tokenizer {
  const made = tokenizerFromGguf("x.gguf", metadata(changes));
  return Tokenizer.from({ path: "x.gguf", format: "gguf", tensors: new Map(), config: {}, tokenizer: made });
}
const names = (made: Tokenizer, text: string) => made.encode(text).map((id) => made.tokenOf(id));

describe("a SentencePiece vocabulary in a GGUF file", () => {
  it("merges what its scores prefer, though the file lists no merges", () => {
    expect(names(tokenizer(), "abc")).toEqual(["<s>", "▁", "a", "bc"]);
    const scores = metadata().get("tokenizer.ggml.scores") as number[];
    const preferring = [...scores];
    preferring[tokens.indexOf("ab")] = 1;
    expect(names(tokenizer({ scores: preferring }), "abc")).toEqual(["<s>", "▁ab", "c"]);
    expect(mergesFromScores(["a", "b", "ab", "😀", "a😀"], undefined)).toEqual([
      ["a", "b"],
      ["a", "😀"],
    ]);
  });

  it("begins texts as the file says", () => {
    expect(names(tokenizer({ add_bos_token: false, add_space_prefix: false }), "ab")).toEqual(["ab"]);
    expect(names(tokenizer({ add_eos_token: true }), "ab")).toEqual(["<s>", "▁ab", "</s>"]);
  });

  it("gives back every text, by bytes where it has no words", () => {
    const made = tokenizer();
    for (const text of ["", "ab", "  ab  c ", "naïve 😀\n\tz", "a<s>b"]) {
      expect(made.decode(made.encode(text).slice(1), { skipSpecialTokens: false })).toBe(text.replace("<s>", "<s> "));
    }
  });
});

describe("a vocabulary that cannot be read as its model was trained", () => {
  const refused = (changes: Readonly<Record<string, MetadataValue>>, code: string) =>
    expect(() => tokenizer(changes)).toThrow(expect.objectContaining({ code }));

  it("is refused, not guessed at", () => {
    refused({ model: "t5" }, "OCTAVO_UNSUPPORTED_MODEL");
    refused({ model: "gpt2", pre: "of-tomorrow", merges: [] }, "OCTAVO_UNSUPPORTED_MODEL");
    refused({ model: "gpt2" }, "OCTAVO_MODEL_FILE_INVALID");
    refused({ model: "gpt2", merges: ["ab"] }, "OCTAVO_MODEL_FILE_INVALID");
    refused({ tokens: [] }, "OCTAVO_MODEL_FILE_INVALID");
    refused({ tokens: [1, 2] }, "OCTAVO_MODEL_FILE_INVALID");
    refused({ scores: [0] }, "OCTAVO_MODEL_FILE_INVALID");
  });

  it("may be missing: such a model takes token ids", () => {
    expect(tokenizerFromGguf("x.gguf", new Map())).toBeUndefined();
    expect(() => tokenizer({ model: "none" })).toThrow(expect.objectContaining({ code: "OCTAVO_MODEL_INCOMPLETE" }));
  });
});
