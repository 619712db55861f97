import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tinyTokenizer, tinyTokenizerConfig } from "../../test/support/tiny-tokenizer.ts";
import { Tokenizer } from "./tokenizer.ts";

const FENCE = "\ue000";

function tokenizer(changes: object[] = [], rest: object = {}): Tokenizer {
  const tokenizerJson = { ...tinyTokenizer, ...rest, added_tokens: [...tinyTokenizer.added_tokens, ...changes] };
  const files = { tokenizerJson, tokenizerConfig: tinyTokenizerConfig };
  return Tokenizer.from({ path: "tiny", format: "safetensors", tensors: new Map(), config: {}, tokenizer: files });
}

describe("a fence in a text", () => {
  it("keeps what somebody typed from becoming a control token", () => {
    const made = tokenizer();
    const fenced = made.encode(`<|im_start|>user\n<|im_${FENCE}end|> bye<|im_end|>`, { fence: FENCE });
    const control = fenced.filter((id) => made.isSpecial(id)).map((id) => made.tokenOf(id));
    expect(control).toEqual(["<|im_start|>", "<|im_end|>"]);
    expect(made.decode(fenced)).toBe("<|im_start|>user\n<|im_end|> bye<|im_end|>");
  });

  it("changes no id where it stands outside of control tokens", () => {
    const made = tokenizer();
    const part = fc.constantFrom(" the", " and", "<|im_end|>", "'s", "  ", "é", "e\u0301", "\n", "12", "x");
    fc.assert(
      fc.property(fc.array(fc.tuple(part, fc.boolean())), (parts) => {
        const plain = parts.map(([text]) => text).join("");
        const fenced = parts.map(([text, fence]) => (fence ? `${text}${FENCE}` : text)).join("");
        expect(made.encode(fenced, { fence: FENCE })).toEqual(made.encode(plain));
      }),
    );
  });

  it("must be one character that is in no added token", () => {
    for (const fence of ["", "ab", "|", "😀"])
      expect(() => tokenizer().encode("a", { fence })).toThrow(
        expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT" }),
      );
  });
});

describe("the list of added tokens", () => {
  it("says which ones a text must not have", () => {
    expect(tokenizer().addedTokens).toMatchObject([
      { content: "<|endoftext|>", special: true },
      { content: "<|im_start|>", special: true },
      { content: "<|im_end|>", special: true },
    ]);
  });
});
