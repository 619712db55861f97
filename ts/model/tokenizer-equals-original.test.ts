/** Written by test/fixtures/tokenizer_features.py through the Rust library, which transformers uses. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "./tokenizer.ts";

interface Feature {
  readonly name: string;
  readonly tokenizer: object;
  /** A text, its ids, and the text that those ids give back without control tokens (null where Octavo keeps more of it). */
  readonly cases: readonly (readonly [text: string, ids: number[], decoded: string | null])[];
}

const features: readonly Feature[] = JSON.parse(
  readFileSync(new URL("../../test/fixtures/tokenizer-features.json", import.meta.url), "utf8"),
);

function load(tokenizerJson: object): Tokenizer {
  const tokenizer = { tokenizerJson, tokenizerConfig: {} };
  return Tokenizer.from({ path: "tiny", format: "safetensors", tensors: new Map(), config: {}, tokenizer });
}

describe.each(features)("a tokenizer.json: $name", ({ tokenizer: json, cases }) => {
  const tokenizer = load(json);

  it("gives the ids that the model was trained with, in one go and in slices", async () => {
    for (const [text, ids] of cases) {
      expect(tokenizer.encode(text), text).toEqual(ids);
      expect(await tokenizer.encodeInSlices(text), text).toEqual(ids);
    }
  });

  it("gives back the same text", () => {
    for (const [text, ids, decoded] of cases)
      if (decoded !== null) expect(tokenizer.decode(ids, { skipSpecialTokens: true }), text).toBe(decoded);
  });
});

describe("an added token with an accent", () => {
  it("is itself when it comes back", () => {
    const feature = features.find(({ name }) => name === "a token in the normalised text");
    const tokenizer = load(feature?.tokenizer as object);
    expect(tokenizer.decode(tokenizer.encode("café"))).toBe("café");
  });
});
