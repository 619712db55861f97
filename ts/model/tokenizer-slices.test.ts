/** Texts of any length. If these fail, one caller's text stops everybody's answers, or slices change its ids. */
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tinyTokenizer, tinyTokenizerConfig } from "../../test/support/tiny-tokenizer.ts";
import { Tokenizer } from "./tokenizer.ts";

function load(tokenizerJson: object): Tokenizer {
  const tokenizer = { tokenizerJson, tokenizerConfig: tinyTokenizerConfig };
  return Tokenizer.from({ path: "tiny", format: "safetensors", tensors: new Map(), config: {}, tokenizer });
}

const byteLevel = load(tinyTokenizer);
/** Without a pre-tokenizer the whole text is one word, as with SentencePiece. */
const oneWord = load({
  ...tinyTokenizer,
  normalizer: { type: "Replace", pattern: { String: " " }, content: "Ġ" },
  pre_tokenizer: null,
});

/** Turns of the event loop that others get while a promise is pending. */
async function turnsBeside(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let pending = true;
  const done = work.finally(() => {
    pending = false;
  });
  while (pending) {
    await setImmediate();
    turns++;
  }
  await done;
  return turns;
}

describe("a long text", () => {
  const texts = {
    prose: "the rain and the wind, 42 times. ".repeat(4_000),
    "one letter": "a".repeat(120_000),
    "one space": " ".repeat(120_000),
    "tokens that merge": "there".repeat(24_000),
    "control tokens": "<|im_end|>".repeat(12_000),
    emoji: "🦩".repeat(60_000),
  };

  it.each(Object.entries(texts))("leaves the event loop to others between slices: %s", async (_, text) => {
    for (const tokenizer of [byteLevel, oneWord])
      expect(await turnsBeside(tokenizer.encodeInSlices(text))).toBeGreaterThan(5);
  });

  it.each(Object.entries(texts))("has the same ids in slices as in one go: %s", async (_, text) => {
    for (const tokenizer of [byteLevel, oneWord]) {
      const ids = tokenizer.encode(text);
      // Compared as text: a list of a hundred thousand numbers takes toEqual a second.
      expect((await tokenizer.encodeInSlices(text))?.join()).toBe(ids.join());
      expect(tokenizer.decode(ids)).toBe(tokenizer === oneWord ? text.replaceAll("🦩", "") : text);
    }
  });

  it("has the same ids whether or not its words are cut where no merge reaches over", () => {
    const part = fc.constantFrom("the", " ", "in", "g", "er", "e", "r", "on", "ou", "nd", "s", " w", "x", "<|im_end|>");
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 20 }), (parts) => {
        // Words over 4096 characters are cut. No merge has "|".
        const whole = parts.join("").repeat(300).slice(0, 3900);
        const ids = oneWord.encode(whole);
        expect(
          oneWord
            .encode(`${whole}${"|".repeat(300)}`)
            .slice(0, ids.length)
            .join(),
        ).toBe(ids.join());
      }),
      { numRuns: 50 },
    );
  });

  it("is given up as soon as it has more tokens than wanted", async () => {
    expect(await byteLevel.encodeInSlices(texts.prose, { limit: 100 })).toBeUndefined();
    const ids = byteLevel.encode(texts.prose);
    expect(await byteLevel.encodeInSlices(texts.prose, { limit: ids.length })).toEqual(ids);
    expect(await byteLevel.encodeInSlices(texts.prose, { limit: ids.length - 1 })).toBeUndefined();
  });

  it("is given up when its signal is aborted, with the signal's reason", async () => {
    const controller = new AbortController();
    const ids = byteLevel.encodeInSlices(texts.prose, { signal: controller.signal });
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(ids).rejects.toBe(reason);
  });
});

describe("what the length of a text says", () => {
  it("is never more than its tokens are", () => {
    const part = fc.constantFrom("the ", "a", "é", "日本", "🦩", "<|endoftext|>", "  ", "\n");
    const stripping = load({
      ...tinyTokenizer,
      added_tokens: tinyTokenizer.added_tokens.map((token) => ({ ...token, lstrip: true, rstrip: true })),
      normalizer: { type: "NFC" },
    });
    fc.assert(
      fc.property(
        fc.array(part),
        fc.nat(40),
        fc.constantFrom(byteLevel, oneWord, stripping),
        (parts, limit, tokenizer) => {
          const text = parts.join("");
          if (tokenizer.surelyExceeds(text, limit)) expect(tokenizer.encode(text).length).toBeGreaterThan(limit);
        },
      ),
    );
  });

  it("refuses what cannot fit, without making tokens of it", () => {
    expect(byteLevel.surelyExceeds("a".repeat(1_000_000), 4096)).toBe(true);
    expect(byteLevel.surelyExceeds("<|endoftext|>".repeat(4096), 4096)).toBe(false);
  });
});
