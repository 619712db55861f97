/** How tokens are drawn: what callers may ask, checked, and in the form that the op `sample` takes. Pure. */
import { z } from "zod";
import { MAX_LOGPROBS } from "../../protocol/ops.ts";
import type { Rules } from "../arguments.ts";
import { badArgument, OctavoError } from "../errors.ts";
import { quoted } from "../quoted.ts";

/**
 * What is not given is what the model's files say (`Engine.defaults`: generation_config.json, or a GGUF file's
 * `general.sampling` keys), and where they say nothing the default below.
 */
export interface SamplingOptions {
  /** 0 (the default) always takes the likeliest token; 1 draws from the model's own distribution. */
  readonly temperature?: number | undefined;
  /** Draw from the `topK` likeliest tokens only. 0 (the default) is all. */
  readonly topK?: number | undefined;
  /** Draw from the smallest set of likeliest tokens whose probabilities reach it. Default 1: all. */
  readonly topP?: number | undefined;
  /** Draw from tokens at least `minP` times as probable as the likeliest. Default 0: all. */
  readonly minP?: number | undefined;
  /** The same seed draws the same tokens, whatever else runs. By default a random one: each answer is another. */
  readonly seed?: number | undefined;
  /** Divides the positive and multiplies the negative logits of tokens of prompt and answer. Default 1: off. */
  readonly repetitionPenalty?: number | undefined;
  /** Subtracted from the logits of tokens that the answer has (with `repetitionPenalty`: prompt or answer). Default 0. */
  readonly presencePenalty?: number | undefined;
  /** Likewise, times how often it has them. Default 0. */
  readonly frequencyPenalty?: number | undefined;
  /** Added to the logits of these token ids before anything else. */
  readonly logitBias?: Readonly<Record<number, number>> | undefined;
  /** Return the log probability of each token, and of this many likeliest ones (0 to 20). */
  readonly logprobs?: number | undefined;
}

/** What a row of the op `sample` needs. */
export interface Sampling {
  /** temperature, top-p, min-p, repetition, presence and frequency penalty. */
  readonly settings: Float32Array;
  readonly topK: number;
  readonly seedLow: number;
  readonly seedHigh: number;
  /** -1: none wanted. */
  readonly logprobs: number;
  readonly biasIds: Int32Array;
  readonly biasValues: Float32Array;
  /** Which tokens the penalties count. */
  readonly history: "none" | "answer" | "all";
}

/** Colder than this, logits divided by the temperature may overflow; the draw is the likeliest token anyway. */
const COLDEST = 1e-5;

const between = (low: number, high: number) => z.number().min(low).max(high);

export const SAMPLING_RULES: Rules<SamplingOptions> = {
  temperature: [between(0, 1000), "a number from 0 to 1000"],
  topK: [
    z
      .int()
      .min(0)
      .max(2 ** 31 - 1),
    "a whole number from 0 on; 0 is all",
  ],
  topP: [between(0, 1).gt(0), "a number above 0, up to 1"],
  minP: [between(0, 1), "a number from 0 to 1"],
  seed: [z.int().min(0), "a whole number from 0 to 2^53 - 1"],
  repetitionPenalty: [between(0.01, 100), "a number from 0.01 to 100; 1 is off"],
  presencePenalty: [between(-100, 100), "a number from -100 to 100"],
  frequencyPenalty: [between(-100, 100), "a number from -100 to 100"],
  logitBias: [z.record(z.string(), between(-1e4, 1e4)), "an object: token ids with numbers from -10000 to 10000"],
  logprobs: [z.int().min(0).max(MAX_LOGPROBS), `a whole number from 0 to ${MAX_LOGPROBS}`],
};

export interface SamplingLimits {
  /** Token ids are below it. */
  readonly vocabulary: number;
  /** Entries of `logitBias` of one request. */
  readonly biases: number;
}

/** `options` have passed `SAMPLING_RULES`. Throws `OCTAVO_TOKEN_OUT_OF_RANGE` and `OCTAVO_BAD_ARGUMENT` for `logitBias`. */
export function resolveSampling(options: SamplingOptions, limits: SamplingLimits): Sampling {
  const { temperature = 0, repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = options;
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 53);
  const bias = Object.entries(options.logitBias ?? {});
  if (bias.length > limits.biases)
    throw badArgument(`logitBias has ${bias.length} entries; at most ${limits.biases} are possible`);
  for (const [id] of bias) checkId(Number(id), id, limits.vocabulary);
  const penalised = presencePenalty !== 0 || frequencyPenalty !== 0;
  return {
    settings: Float32Array.of(
      temperature < COLDEST ? 0 : temperature,
      options.topP ?? 1,
      options.minP ?? 0,
      repetitionPenalty,
      presencePenalty,
      frequencyPenalty,
    ),
    topK: options.topK ?? 0,
    seedLow: seed | 0, // The low 32 bits, as a signed word.
    seedHigh: Math.floor(seed / 2 ** 32) | 0,
    logprobs: options.logprobs ?? -1,
    biasIds: Int32Array.from(bias, ([id]) => Number(id)),
    biasValues: Float32Array.from(bias, ([, value]) => value),
    history: repetitionPenalty !== 1 ? "all" : penalised ? "answer" : "none",
  };
}

function checkId(id: number, shown: string, vocabulary: number): void {
  if (Number.isInteger(id) && id >= 0 && id < vocabulary) return;
  const text = `logitBias names the token ${quoted(shown)}; token ids go from 0 to ${vocabulary - 1}`;
  throw new OctavoError("OCTAVO_TOKEN_OUT_OF_RANGE", text);
}
