/** Written by test/fixtures/llama_cpp_vocabularies.py from llama.cpp's own test vocabularies and what it makes of texts. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../tokenizer.ts";
import type { MetadataValue } from "./gguf-header.ts";
import { tokenizerFromGguf } from "./gguf-tokenizer.ts";

interface Golden {
  readonly name: string;
  readonly metadata: Readonly<Record<string, MetadataValue>>;
  readonly cases: readonly (readonly [text: string, ids: number[]])[];
}

const golden: readonly Golden[] = JSON.parse(
  readFileSync(new URL("../../../test/fixtures/llama-cpp-vocabularies.json", import.meta.url), "utf8"),
);

describe.each(golden)("a vocabulary of llama.cpp: $name", ({ metadata, cases }) => {
  it("gives the tokens that llama.cpp gives", () => {
    const entries = Object.entries(metadata).map(([key, value]) => [`tokenizer.ggml.${key}`, value] as const);
    const made = tokenizerFromGguf("x.gguf", new Map(entries));
    const tokenizer = Tokenizer.from({ path: "x", format: "gguf", tensors: new Map(), config: {}, tokenizer: made });
    for (const [text, ids] of cases) expect(tokenizer.encode(text, { addSpecialTokens: false }), text).toEqual(ids);
  });
});
