import { describe, expect, it } from "vitest";
import { GENERATE_RULES, type GenerateOptions, resolveOptions, withPrompt } from "./generate-options.ts";

const limits = { vocabulary: 100, context: 32, biases: 3, eosTokenIds: [2], defaults: {} };
const resolve = (options: GenerateOptions, prompt: readonly number[] = [1]) =>
  withPrompt(resolveOptions(options, limits, GENERATE_RULES), prompt, limits);

describe("what a caller asks is checked before anything runs", () => {
  const wrong: [string, object, string][] = [
    ["a temperature that is no number", { temperature: Number.NaN }, "temperature is NaN; it takes a number from 0"],
    ["a temperature in quotes", { temperature: "1" }, 'temperature is "1"'],
    ["a negative temperature", { temperature: -0.1 }, "temperature is -0.1"],
    ["an infinite temperature", { temperature: Number.POSITIVE_INFINITY }, "temperature is Infinity"],
    ["top-p of nothing", { topP: 0 }, "topP is 0; it takes a number above 0, up to 1"],
    ["top-p above 1", { topP: 1.1 }, "topP is 1.1"],
    ["half a token of top-k", { topK: 1.5 }, "topK is 1.5"],
    ["min-p above 1", { minP: 2 }, "minP is 2"],
    ["a repetition penalty of 0", { repetitionPenalty: 0 }, "repetitionPenalty is 0"],
    ["a negative seed", { seed: -1 }, "seed is -1"],
    ["a seed that floats cannot hold", { seed: 2 ** 53 }, "seed is 9007199254740992"],
    ["more log probabilities than there are", { logprobs: 21 }, "logprobs is 21; it takes a whole number from 0 to 20"],
    ["no tokens at all", { maxTokens: 0 }, "maxTokens is 0"],
    ["an empty stop string", { stop: "" }, 'stop is ""'],
    ["a bias that is no number", { logitBias: { 3: Number.NaN } }, "logitBias is"],
    ["too many biases", { logitBias: { 1: 1, 2: 1, 3: 1, 4: 1 } }, "logitBias has 4 entries; at most 3"],
    ["a signal that is none", { signal: {} }, "signal is {}; it takes an AbortSignal"],
    ["an option that there is not", { temprature: 1 }, "there is no option temprature; there are"],
    ["no object", [] as object, "options are []"],
  ];
  it.each(wrong)("refuses %s", (_, options, message) => {
    expect(() => resolve(options)).toThrow(
      expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT", message: expect.stringContaining(message) }),
    );
  });

  it.each([-1, 100, 1.5, Number.NaN, "7" as unknown as number, undefined as unknown as number])(
    "refuses the token id %s",
    (id) => {
      const error = expect.objectContaining({ code: "OCTAVO_TOKEN_OUT_OF_RANGE" });
      expect(() => resolve({}, [1, id])).toThrow(error);
      if (typeof id === "number") expect(() => resolve({ logitBias: { [id]: 1 } })).toThrow(error);
    },
  );

  it("refuses an empty prompt, and one that leaves no room for an answer, with both lengths", () => {
    expect(() => resolve({}, [])).toThrow(expect.objectContaining({ code: "OCTAVO_EMPTY_PROMPT" }));
    expect(() => resolve({}, new Array(32).fill(1))).toThrow(
      expect.objectContaining({
        code: "OCTAVO_PROMPT_TOO_LONG",
        message: expect.stringMatching(/32 tokens.*context of 32 holds at most 31/),
      }),
    );
  });
});

describe("what is not asked for", () => {
  it("is greedy, without penalties, log probabilities or stop strings", () => {
    const { sampling, stop, stopIds, logits } = resolve({});
    expect([...sampling.settings]).toEqual([0, 1, 0, 1, 0, 0]);
    expect([sampling.topK, sampling.logprobs, sampling.history]).toEqual([0, -1, "none"]);
    expect([stop, [...stopIds], logits]).toEqual([[], [2], false]);
  });

  it("never draws beyond the context", () => {
    expect(resolve({ maxTokens: 1000 }, new Array(30).fill(1)).maxTokens).toBe(2);
  });

  it("is not there when it is undefined, as in spread options", () => {
    expect(resolve({ temperature: undefined, stop: undefined }).sampling.settings[0]).toBe(0);
  });
});

it("splits a seed into the two words of the counter's key, all 53 bits of it", () => {
  const { seedLow, seedHigh } = resolve({ seed: 2 ** 53 - 1 }).sampling;
  expect([seedLow >>> 0, seedHigh >>> 0]).toEqual([0xffffffff, 0x1fffff]);
});

it("takes a temperature so cold that logits would overflow as greedy", () => {
  expect(resolve({ temperature: 1e-30 }).sampling.settings[0]).toBe(0);
});
