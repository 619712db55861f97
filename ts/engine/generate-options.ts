/** What a caller may ask of one generation, checked before any effect. Pure. */
import { z } from "zod";
import { checkOptions, type Rules } from "../arguments.ts";
import { OctavoError } from "../errors.ts";
import type { SamplingDefaults } from "../model/source/generation-config.ts";
import { resolveSampling, SAMPLING_RULES, type Sampling, type SamplingOptions } from "./sampling.ts";

export interface GenerateOptions extends SamplingOptions {
  /** Most tokens to draw. By default 512, or what the model's files say. Never more than the context has room for after the prompt. */
  readonly maxTokens?: number | undefined;
  /** The answer ends before the first of these strings. */
  readonly stop?: string | readonly string[] | undefined;
  /** The answer ends with the first of these token ids, beside the model's own end tokens. */
  readonly stopTokenIds?: readonly number[] | undefined;
  /** Go on after the model's own end tokens. */
  readonly ignoreEos?: boolean | undefined;
  /** Return the logits that each token was drawn from ([vocabulary] each); for tests and research, large. */
  readonly logits?: boolean | undefined;
  /** Aborting it ends the generation with the signal's reason and gives its memory back within a step. */
  readonly signal?: AbortSignal | undefined;
}

export interface ChatOptions extends GenerateOptions {
  /**
   * Control tokens that are written out in a message (`<|im_end|>`) become those tokens, so that whoever wrote it can end its
   * turn and open another, a system turn too. Default false: they are text. For messages that are all your own.
   */
  readonly allowSpecialTokens?: boolean | undefined;
}

/** A request as the runner needs it. */
export interface RequestSpec {
  readonly prompt: Int32Array;
  readonly maxTokens: number;
  readonly sampling: Sampling;
  readonly stop: readonly string[];
  /** Ids that end the answer, the model's own included unless they are ignored. */
  readonly stopIds: ReadonlySet<number>;
  readonly logits: boolean;
  readonly signal: AbortSignal | undefined;
}

/** All of it but the prompt. */
export type RequestOptions = Omit<RequestSpec, "prompt">;

export interface RequestLimits {
  readonly vocabulary: number;
  /** Tokens of prompt and answer together. */
  readonly context: number;
  /** Entries of one `logitBias`. */
  readonly biases: number;
  readonly eosTokenIds: readonly number[];
  /** What the model's files say of options that the caller does not give. */
  readonly defaults: SamplingDefaults;
}

const DEFAULT_MAX_TOKENS = 512;
const MAX_STOPS = 64;

const stopString = z.string().min(1).max(4096);
export const GENERATE_RULES: Rules<GenerateOptions> = {
  ...SAMPLING_RULES,
  maxTokens: [z.int().min(1), "a whole number from 1 on"],
  stop: [z.union([stopString, z.array(stopString).max(MAX_STOPS)]), `up to ${MAX_STOPS} strings that are not empty`],
  stopTokenIds: [z.array(z.int().min(0)).max(1024), "a list of up to 1024 token ids"],
  ignoreEos: [z.boolean(), "true or false"],
  logits: [z.boolean(), "true or false"],
  signal: [z.instanceof(AbortSignal), "an AbortSignal"],
};

export const CHAT_RULES: Rules<ChatOptions> = { ...GENERATE_RULES, allowSpecialTokens: [z.boolean(), "true or false"] };

/** Throws `OCTAVO_BAD_ARGUMENT`, or `OCTAVO_TOKEN_OUT_OF_RANGE` for an id of `logitBias` or of `stopTokenIds`. */
export function resolveOptions<T extends GenerateOptions>(
  given: T,
  limits: RequestLimits,
  rules: Rules<T>,
): RequestOptions {
  checkOptions(given, rules);
  // Each option by itself: a caller who gives a temperature keeps the model's top-p.
  const own = Object.entries(given).filter(([, value]) => value !== undefined);
  const options: GenerateOptions = { ...limits.defaults, ...Object.fromEntries(own) };
  const { stop = [], stopTokenIds = [] } = options;
  checkIds("stopTokenIds", stopTokenIds, limits.vocabulary);
  return {
    maxTokens: options.maxTokens ?? DEFAULT_MAX_TOKENS,
    sampling: resolveSampling(options, limits),
    stop: typeof stop === "string" ? [stop] : stop,
    stopIds: new Set([...stopTokenIds, ...(options.ignoreEos === true ? [] : limits.eosTokenIds)]),
    logits: options.logits ?? false,
    signal: options.signal,
  };
}

/** Throws `OCTAVO_EMPTY_PROMPT`, `OCTAVO_PROMPT_TOO_LONG`, or `OCTAVO_TOKEN_OUT_OF_RANGE` for an id of the prompt. */
export function withPrompt(options: RequestOptions, prompt: readonly number[], limits: RequestLimits): RequestSpec {
  if (prompt.length === 0) {
    const text = "the prompt has no tokens; give at least one, for example the model's first token";
    throw new OctavoError("OCTAVO_EMPTY_PROMPT", text);
  }
  const room = limits.context - prompt.length;
  if (room < 1) throw promptTooLong(`the prompt has ${prompt.length} tokens`, limits);
  checkIds("the prompt", prompt, limits.vocabulary);
  return { ...options, prompt: Int32Array.from(prompt), maxTokens: Math.min(options.maxTokens, room) };
}

export function promptTooLong(what: string, { context }: RequestLimits): OctavoError {
  const text =
    `${what}; a context of ${context} holds at most ${context - 1} and one of an answer. ` +
    "Shorten it, or load the model with a larger context";
  return new OctavoError("OCTAVO_PROMPT_TOO_LONG", text);
}

function checkIds(what: string, ids: readonly number[], vocabulary: number): void {
  for (const [index, id] of ids.entries()) {
    if (Number.isInteger(id) && id >= 0 && id < vocabulary) continue;
    const text = `${what} has ${String(id)} at ${index}; token ids go from 0 to ${vocabulary - 1}`;
    throw new OctavoError("OCTAVO_TOKEN_OUT_OF_RANGE", text);
  }
}
