/**
 * What a model's author wants of generation when the caller does not say: `generation_config.json` of a folder, or the
 * `general.sampling.*` keys of a GGUF file. Read as transformers 5 reads it. Pure.
 */
import { z } from "zod";
import { quoted } from "../../quoted.ts";
import type { Metadata } from "./gguf-header.ts";
import { invalid } from "./ranges.ts";

/** Options of `engine.generate` and `engine.chat`, by their names. */
export interface SamplingDefaults {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
}

export interface GenerationDefaults {
  readonly defaults: SamplingDefaults;
  /** Tokens that end an answer, beside those of config.json. */
  readonly eosTokenIds: readonly number[];
  /** What is there, changes generation, and is not done: `num_beams 4`. */
  readonly ignored: readonly string[];
}

const between = (low: number, high: number) => z.number().min(low).max(high);
const whole = (low: number) => z.int().min(low);
/** Of each key that is honoured: what it may be, and the words for it. Each may also be null, which is not there. */
const HONOURED = {
  do_sample: [z.boolean(), "true or false"],
  temperature: [between(0, 1000), "a number from 0 to 1000"],
  top_k: [whole(0).max(2 ** 31 - 1), "a whole number from 0 on"],
  top_p: [between(0, 1).gt(0), "a number above 0, up to 1"],
  min_p: [between(0, 1), "a number from 0 to 1"],
  repetition_penalty: [between(0.01, 100), "a number from 0.01 to 100"],
  max_new_tokens: [whole(1), "a whole number from 1 on"],
  stop_strings: [
    z.union([z.string().min(1).max(4096), z.array(z.string().min(1).max(4096)).max(64)]),
    "up to 64 strings that are not empty",
  ],
  eos_token_id: [z.union([z.int(), z.array(z.int()).max(1024)]), "a token id or a list of them"],
} as const satisfies Record<string, readonly [z.ZodType, string]>;

type Honoured = { readonly [K in keyof typeof HONOURED]?: z.infer<(typeof HONOURED)[K][0]> };

/** Values with which the key changes nothing. Of keys that are neither here nor above, every value is reported. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  num_beams: [1],
  num_beam_groups: [1],
  num_return_sequences: [1],
  typical_p: [1],
  top_h: [1],
  epsilon_cutoff: [0],
  eta_cutoff: [0],
  encoder_repetition_penalty: [1],
  no_repeat_ngram_size: [0],
  encoder_no_repeat_ngram_size: [0],
  diversity_penalty: [0],
  penalty_alpha: [0],
  guidance_scale: [1],
  min_length: [0],
  min_new_tokens: [0],
  remove_invalid_values: [false],
  renormalize_logits: [false],
  token_healing: [false],
  low_memory: [false],
  use_mtp: [false],
  presence_penalty: [0],
  frequency_penalty: [0],
  bad_words_ids: [],
  suppress_tokens: [],
  begin_suppress_tokens: [],
  forced_bos_token_id: [],
  forced_eos_token_id: [],
  exponential_decay_length_penalty: [],
  sequence_bias: [],
};

/** About caches, outputs, padding, assisted drafts (same tokens, sooner), and beams, which are reported by num_beams. */
const HARMLESS = new Set([
  "transformers_version",
  "bos_token_id",
  "pad_token_id",
  "decoder_start_token_id",
  // The caller's `maxTokens` and the model's `context` bound an answer.
  "max_length",
  "use_cache",
  "cache_implementation",
  "cache_config",
  "max_cache_len",
  "return_legacy_cache",
  "early_stopping",
  "length_penalty",
  "output_attentions",
  "output_hidden_states",
  "output_scores",
  "output_logits",
  "return_dict_in_generate",
  "is_assistant",
  "num_assistant_tokens",
  "num_assistant_tokens_schedule",
  "assistant_confidence_threshold",
  "assistant_early_exit",
  "assistant_lookbehind",
  "target_lookbehind",
  "prompt_lookup_num_tokens",
  "max_matching_ngram_size",
  "speculation_type",
  "compile_config",
  "disable_compile",
  "continuous_batching_config",
  "prefill_chunk_size",
]);

/** What transformers draws from when a file says `do_sample` and no `top_k`. */
const TOP_K_OF_SAMPLING = 50;

/** Throws `OCTAVO_MODEL_FILE_INVALID` with the key for a value that it cannot have. */
export function generationDefaults(file: string, config: Readonly<Record<string, unknown>>): GenerationDefaults {
  const honoured: Record<string, unknown> = {};
  const ignored: string[] = [];
  for (const [key, value] of Object.entries(config)) {
    if (value === null) continue;
    if (Object.hasOwn(HONOURED, key)) {
      const [schema, takes] = HONOURED[key as keyof Honoured];
      if (!schema.safeParse(value).success) throw invalid(file, `${key} is ${quoted(value, 60)}; it takes ${takes}`);
      honoured[key] = value;
    } else if (!HARMLESS.has(key) && !key.startsWith("_") && !isNeutral(key, value))
      ignored.push(`${key.slice(0, 60)} ${quoted(value, 60)}`);
  }
  return { ...translate(honoured as Honoured), ignored };
}

/** Of a model without generation_config.json: older ones have the same keys among the others of config.json. */
export function generationDefaultsOfConfig(
  file: string,
  config: Readonly<Record<string, unknown>>,
): GenerationDefaults {
  const known = ([key]: readonly [string, unknown]) => Object.hasOwn(HONOURED, key) || Object.hasOwn(NEUTRAL, key);
  return generationDefaults(file, Object.fromEntries(Object.entries(config).filter(known)));
}

/** Without `do_sample` transformers takes the likeliest token, whatever the temperature. */
function translate(given: Honoured): Omit<GenerationDefaults, "ignored"> {
  const sampled = given.do_sample === true;
  const { eos_token_id: ends = [], stop_strings: stops } = given;
  const defaults = {
    temperature: sampled ? (given.temperature ?? 1) : undefined,
    topK: given.top_k ?? (sampled ? TOP_K_OF_SAMPLING : undefined),
    topP: given.top_p,
    minP: given.min_p,
    repetitionPenalty: given.repetition_penalty,
    maxTokens: given.max_new_tokens,
    stop: typeof stops === "string" ? [stops] : stops,
  };
  // Some files write -1 for "none".
  return { defaults: defined(defaults), eosTokenIds: [ends].flat().filter((id) => id >= 0) };
}

const GGUF_PREFIX = "general.sampling.";
const GGUF_NAMES: Readonly<Record<string, keyof Honoured>> = {
  temp: "temperature",
  top_k: "top_k",
  top_p: "top_p",
  min_p: "min_p",
  penalty_repeat: "repetition_penalty",
};
/** llama.cpp's values for "off"; -1 of `penalty_last_n` is the whole context, as here. */
const GGUF_NEUTRAL: ReadonlyMap<string, unknown> = new Map([
  ["mirostat", 0],
  ["xtc_probability", 0],
  ["penalty_last_n", -1],
]);
/** They say how, where a key above says whether. */
const GGUF_HARMLESS = new Set(["mirostat_tau", "mirostat_eta", "xtc_threshold"]);

/** The keys that llama.cpp writes; sampled where one of them gives a temperature. Throws as `generationDefaults` does. */
export function generationDefaultsOfGguf(file: string, metadata: Metadata): GenerationDefaults {
  const config: Record<string, unknown> = {};
  const ignored: string[] = [];
  for (const [key, value] of metadata) {
    if (!key.startsWith(GGUF_PREFIX)) continue;
    const name = key.slice(GGUF_PREFIX.length);
    const known = Object.hasOwn(GGUF_NAMES, name) ? GGUF_NAMES[name] : undefined;
    // A float32 as the decimal it was written from: 0.6, not 0.6000000238.
    if (known !== undefined) config[known] = typeof value === "number" ? Number(value.toPrecision(7)) : value;
    else if (!GGUF_HARMLESS.has(name) && GGUF_NEUTRAL.get(name) !== value)
      ignored.push(`${key.slice(0, 80)} ${quoted(value, 60)}`);
  }
  if (config.temperature !== undefined) config.do_sample = true;
  if (config.top_k === -1) config.top_k = 0; // All, as llama.cpp may write it.
  return { ...generationDefaults(file, config), ignored };
}

function isNeutral(key: string, value: unknown): boolean {
  if (Array.isArray(value) && value.length === 0) return true; // No tokens to suppress, no words to forbid.
  return Object.hasOwn(NEUTRAL, key) && NEUTRAL[key]?.includes(value) === true;
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
