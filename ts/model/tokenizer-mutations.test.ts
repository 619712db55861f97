/** Files of tokenizers with anything changed. If this fails, a damaged file makes a model see tokens that nobody wrote. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TINY_TOKENS, tinyTokenizer, tinyTokenizerConfig } from "../../test/support/tiny-tokenizer.ts";
import { OctavoError } from "../errors.ts";
import type { Metadata, MetadataValue } from "./source/gguf-header.ts";
import { tokenizerFromGguf } from "./source/gguf-tokenizer.ts";
import type { Manifest } from "./source/manifest.ts";
import { Tokenizer } from "./tokenizer.ts";

const ROWS = 800;
const TEXTS = [
  "",
  " ",
  "the rain, 42 <unk><|im_end|> Éx\ud800\n",
  "token [MASK]  ▁▁ <s>🦩",
  "日本 e\u0301 and the",
  "proto",
];

const golden: { name: string; tokenizer: object }[] = JSON.parse(
  readFileSync(new URL("../../test/fixtures/tokenizer-features.json", import.meta.url), "utf8"),
);
const files = [tinyTokenizer, ...golden.map(({ tokenizer }) => tokenizer)];

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What somebody else's file may have anywhere. */
const hostile: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(null, true, false, 0, 1, -1, 1.5, 300, ROWS, 1e9, 2 ** 53, 1e300),
  fc.constantFrom<Json>("", "0", "the", "a b", "__proto__", "▁", "\\p{L}+|", "(", "x".repeat(100_000)),
  fc.constantFrom<Json>([], {}, [1], ["a"], ["a", "b"], [[]], { id: 1 }, { type: "BPE" }, { Regex: "(" }),
);

type Change = (tree: Json, ways: readonly number[], value: Json) => void;
/** Follows `ways` down to somewhere in the tree and changes what is there. */
function at(change: (parent: Record<string, Json>, key: string, value: Json) => void): Change {
  return (tree, ways, value) => {
    let node = tree as Record<string, Json>;
    for (const [step, way] of ways.entries()) {
      const keys = Object.keys(node);
      const key = keys[way % keys.length];
      if (key === undefined) return;
      const next = node[key];
      if (step === ways.length - 1 || typeof next !== "object" || next === null) return change(node, key, value);
      node = next as Record<string, Json>;
    }
  };
}
const changes: readonly Change[] = [
  at((parent, key, value) => {
    parent[key] = value;
  }),
  at((parent, key) => {
    if (Array.isArray(parent)) parent.splice(Number(key), 1);
    else delete parent[key];
  }),
  at((parent, key) => {
    const keys = Object.keys(parent);
    const other = keys[(keys.indexOf(key) + 1) % keys.length] as string;
    [parent[key], parent[other]] = [parent[other] as Json, parent[key] as Json];
  }),
  at((parent, key, value) => {
    if (Array.isArray(parent)) parent.push(structuredClone(parent[Number(key)] as Json));
    else parent[typeof value === "string" ? value : "more"] = structuredClone(parent[key] as Json);
  }),
];
const mutation = fc.record({
  change: fc.constantFrom(...changes),
  ways: fc.array(fc.nat(1000), { minLength: 1, maxLength: 5 }),
  value: hostile,
});

/** Refused with a code in a message of bounded length, or every id is a whole number that the model has. */
function expectSound(open: () => Manifest["tokenizer"]): void {
  try {
    const config = { vocab_size: ROWS };
    const tokenizer = Tokenizer.from({ path: "tiny", format: "gguf", tensors: new Map(), config, tokenizer: open() });
    for (const text of TEXTS) {
      const ids = tokenizer.encode(text);
      for (const id of ids) if (!Number.isInteger(id) || id < 0 || id >= ROWS) expect.fail(`${text}: ${String(id)}`);
      expect(typeof tokenizer.decode(ids)).toBe("string");
    }
    expect(tokenizer.eosIds.every((id) => Number.isInteger(id))).toBe(true);
  } catch (error) {
    expect(error).toBeInstanceOf(OctavoError);
    expect((error as OctavoError).message.length).toBeLessThan(1000);
  }
}

describe("a file with anything changed is refused, or gives ids that the model has", () => {
  it("tokenizer.json and tokenizer_config.json", () => {
    fc.assert(
      fc.property(fc.constantFrom(...files), fc.array(mutation, { minLength: 1, maxLength: 3 }), (file, mutations) => {
        const tree = structuredClone({ tokenizerJson: file, tokenizerConfig: tinyTokenizerConfig });
        for (const { change, ways, value } of mutations)
          change(tree as unknown as Json, [ways[0]! % 8 ? 0 : 1, ...ways], value);
        expectSound(() => tree);
      }),
      { numRuns: 500 },
    );
  });

  it("the metadata of a GGUF file", () => {
    const bytes = [...Array(256).keys()].map((byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    const words = ["▁", "a", "b", "▁a", "ab", "t", "h", "e", "th", "the", "▁the"];
    const tokens = ["<unk>", "<s>", "</s>", "<|im_end|>", ...bytes, ...words];
    const sentencePiece = {
      model: "llama",
      tokens,
      token_type: [2, 3, 3, 3, ...bytes.map(() => 6), ...words.map(() => 1)],
      scores: tokens.map((_, id) => -id),
      bos_token_id: 1,
      eos_token_id: 2,
      unknown_token_id: 0,
      add_bos_token: true,
      add_eos_token: false,
    };
    const merges = tinyTokenizer.model.merges;
    const vocab = [...TINY_TOKENS];
    const types = vocab.map((_, id) => (id < 3 ? 3 : 1));
    const byteLevel = { model: "gpt2", pre: "qwen2", tokens: vocab, token_type: types, merges, bos_token_id: 0 };
    fc.assert(
      fc.property(
        fc.constantFrom<Json>(sentencePiece, byteLevel),
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        (file, mutations) => {
          const tree = structuredClone(file) as Record<string, Json>;
          for (const { change, ways, value } of mutations) change(tree, ways, value);
          const entries = Object.entries(tree).map(
            ([key, value]) => [`tokenizer.ggml.${key}`, value as MetadataValue] as const,
          );
          const metadata: Metadata = new Map(entries);
          expectSound(() => tokenizerFromGguf("tiny.gguf", metadata));
        },
      ),
      { numRuns: 500 },
    );
  });
});
