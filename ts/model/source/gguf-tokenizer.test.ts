import { describe, expect, it } from "vitest";
import { TINY_TOKENS, tinyTokenizer } from "../../../test/support/tiny-tokenizer.ts";
import { Tokenizer } from "../tokenizer.ts";
import type { Metadata, MetadataValue } from "./gguf-header.ts";
import { tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { preTokenizer } from "./pre-tokenizers.ts";
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
    expect(mergesFromScores("tiny.gguf", ["a", "b", "ab", "😀", "a😀"], undefined)).toEqual([
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

describe("control tokens in a GGUF file", () => {
  const turnEnds = ["<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|eom_id|>", "<|end|>", "<|endoftext|>"];
  const withTokens = (more: readonly string[], type: number, changes: Readonly<Record<string, MetadataValue>> = {}) => {
    const types = metadata().get("tokenizer.ggml.token_type") as number[];
    const scores = metadata().get("tokenizer.ggml.scores") as number[];
    return tokenizer({
      tokens: [...tokens, ...more],
      token_type: [...types, ...more.map(() => type)],
      scores: [...scores, ...more.map(() => -100)],
      ...changes,
    });
  };

  it.each(turnEnds)("end an answer though the file names only the end of a text: %s", (end) => {
    expect(withTokens([end], CONTROL).eosIds).toEqual([2, tokens.length]);
    // The same letters may be an ordinary word.
    expect(withTokens([end], NORMAL).eosIds).toEqual([2]);
  });

  it("end an answer where the metadata says so, whatever they are called", () => {
    const changes = { eot_token_id: tokens.length, eom_token_id: tokens.length + 1 };
    expect(withTokens(["<stop>", "<wait>", "<go>"], CONTROL, changes).eosIds).toEqual([
      2,
      tokens.length,
      tokens.length + 1,
    ]);
  });

  it("end no answer where a format has messages within one", () => {
    const made = withTokens(["<|end|>", "<|return|>", "<|call|>"], CONTROL);
    expect(made.eosIds).not.toContain(made.idOf("<|end|>"));
  });

  it("come of their own text only, the unknown one too, and of no merge", () => {
    const made = withTokens(["<", ">", "s", "s>"], NORMAL);
    expect(names(made, "a<unk>b")).toEqual(["<s>", "▁", "a", "<unk>", "▁", "b"]);
    const typed = made.encode("a<s\ue000>", { addSpecialTokens: false, fence: "\ue000" });
    expect(typed.map((id) => made.tokenOf(id))).toEqual(["▁", "a", "<", "s>"]);
  });

  it("are those of llama.cpp's defaults where a SentencePiece file names none", () => {
    const { bosId, eosIds } = tokenizer({ bos_token_id: 0xffffffff, eos_token_id: 0xffffffff });
    expect([bosId, eosIds]).toEqual([1, [2]]);
  });
});

describe("a byte-level vocabulary in a GGUF file", () => {
  const alphabet = TINY_TOKENS.slice(3);
  /** The vocabulary of the tiny tokenizer, filled up so that special tokens stand where they do in a known one. */
  const known = (special: Readonly<Record<number, string>>) => {
    const size = Math.max(...Object.keys(special).map(Number)) + 1;
    const tokens = Array.from({ length: size }, (_, id) => special[id] ?? alphabet[id] ?? `unused ${id}`);
    const types = tokens.map((_, id) => (special[id] === undefined ? NORMAL : CONTROL));
    return { model: "gpt2", tokens, token_type: types, scores: [], merges: tinyTokenizer.model.merges };
  };
  const llama3 = { 128000: "<|begin_of_text|>", 128001: "<|end_of_text|>", 128009: "<|eot_id|>" };
  const qwen2 = { 151643: "<|endoftext|>", 151644: "<|im_start|>", 151645: "<|im_end|>" };

  it("is cut as its model was trained where the vocabulary proves which it is, though the file does not say", () => {
    const proven = { "llama-bpe": llama3, qwen2, "gpt-2": { 50255: "Ġgazed", 50256: "<|endoftext|>" } };
    for (const [name, special] of Object.entries(proven)) {
      const { tokens } = known(special);
      const stated = preTokenizer("x", name, tokens);
      // llama.cpp's "default" is of no model, so a vocabulary that is known says more.
      for (const pre of [undefined, "", "default"]) expect(preTokenizer("x", pre, tokens)).toBe(stated);
      expect(preTokenizer("x", "smollm", tokens)).not.toBe(stated);
    }
    const made = tokenizer({ ...known(llama3), bos_token_id: 128000 });
    expect(made.encode("1")).toEqual([128000, made.idOf("1")]);
  });

  it("is refused where nothing says how it is cut, with what to do", () => {
    expect(() => tokenizer({ ...known({ 300: "<|endoftext|>" }) })).toThrow(
      expect.objectContaining({
        code: "OCTAVO_UNSUPPORTED_MODEL",
        message: expect.stringMatching(/no tokenizer\.ggml\.pre.*301 tokens.*gguf-new-metadata --pre-tokenizer/),
      }),
    );
  });

  it("begins texts as its pre-tokenizer's rule has it, unless the file says otherwise", () => {
    const special = { 0: "<s>", 1: "</s>" };
    const begins = (pre: string, changes: Readonly<Record<string, MetadataValue>> = {}) =>
      tokenizer({ ...known({ ...special, 300: "<pad>" }), pre, bos_token_id: 0, ...changes }).encode("a")[0] === 0;
    expect(["llama-bpe", "llama3", "tekken"].map((pre) => begins(pre))).toEqual([true, true, true]);
    expect(["gpt-2", "qwen2", "smollm"].map((pre) => begins(pre))).toEqual([false, false, false]);
    expect(begins("llama-bpe", { add_bos_token: false })).toBe(false);
    expect(begins("qwen2", { add_bos_token: true })).toBe(true);
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
    refused({ tokens: [...tokens.slice(0, -1), "ab"] }, "OCTAVO_MODEL_FILE_INVALID");
    refused({ model: "gpt2", pre: "gpt-2", merges: ["x y"] }, "OCTAVO_MODEL_FILE_INVALID");
    refused({ bos_token_id: tokens.length }, "OCTAVO_MODEL_FILE_INVALID");
    refused({ add_bos_token: 1 }, "OCTAVO_MODEL_FILE_INVALID");
    refused({ token_type: tokens.map(() => "control") }, "OCTAVO_MODEL_FILE_INVALID");
  });

  it("may be missing: such a model takes token ids", () => {
    expect(tokenizerFromGguf("x.gguf", new Map())).toBeUndefined();
    expect(() => tokenizer({ model: "none" })).toThrow(expect.objectContaining({ code: "OCTAVO_MODEL_INCOMPLETE" }));
  });
});
