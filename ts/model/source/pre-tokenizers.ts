/** How a byte-level vocabulary is used: `tokenizer.ggml.pre` -> `pre_tokenizer` of tokenizer.json and what goes with it. */
import { OctavoError } from "../../errors.ts";
import { quoted } from "../../quoted.ts";

/** The expressions of this file. Models publish them in tokenizer.json as well; the time they take grows with the text and no faster. */
const KNOWN = new Set<string>();

export const BYTE_LEVEL = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };

export interface PreTokenizer {
  readonly preTokenizer: object;
  /** A whole word that is a token is taken before merges are looked at. */
  readonly ignoreMerges: boolean;
  /** What counts when the file has no `add_bos_token`. */
  readonly addBos: boolean;
}

export const GPT2_WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const gpt2 = cut(GPT2_WORDS);
/** Each digit alone, then as GPT-2 (the published tokenizer.json of SmolLM and StarCoder). */
const digits = cut("\\p{N}", GPT2_WORDS);
const llama3 = cut(
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${SPACES}`,
);
const qwen2 = cut(`${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${SPACES}`);
const tekken = cut(
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" +
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" +
    `|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${SPACES}`,
);
const deepseekCoder = cut("[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", "\\p{N}");
const falcon = cut("[\\p{P}$+<=>^~|`]+", GPT2_WORDS, "[0-9][0-9][0-9]");
/** llama.cpp's own, of no published model. */
const unnamed = cut("[\\p{P}$+<=>^~|]+", GPT2_WORDS, "\\p{N}+", "[0-9][0-9][0-9]");

/** Names of llama.cpp (`llama-vocab.cpp`), with what it does for them. */
const GROUPS: readonly (readonly [names: string, preTokenizer: object, flags?: Partial<PreTokenizer>])[] = [
  ["gpt-2 phi-2 gigachat a.x-4.0 mellum exaone4 mpt olmo jais trillion granite-docling", gpt2],
  ["smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", digits],
  ["llama-bpe llama-v3 llama3 falcon3 falcon-h1 pixtral midm-2.0 lfm2", llama3, { ignoreMerges: true, addBos: true }],
  ["dbrx smaug-bpe", llama3],
  ["qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2", qwen2],
  ["tekken", tekken, { ignoreMerges: true, addBos: true }],
  ["deepseek-coder", deepseekCoder],
  ["falcon", falcon],
  ["default", unnamed],
];
const PRE_TOKENIZERS = new Map<unknown, PreTokenizer>(
  GROUPS.flatMap(([names, preTokenizer, flags]) =>
    names.split(" ").map((name) => [name, { preTokenizer, ignoreMerges: false, addBos: false, ...flags }]),
  ),
);

/** Vocabularies that are known by where their special tokens stand, behind the tokens that were trained. */
const PROOFS: readonly (readonly [name: string, tokens: Readonly<Record<number, string>>])[] = [
  ["llama-bpe", { 128000: "<|begin_of_text|>", 128001: "<|end_of_text|>" }],
  ["qwen2", { 151643: "<|endoftext|>", 151644: "<|im_start|>", 151645: "<|im_end|>" }],
  ["gpt-2", { 50255: "Ġgazed", 50256: "<|endoftext|>" }],
  ["deepseek-coder", { 32013: "<｜begin▁of▁sentence｜>", 32014: "<｜end▁of▁sentence｜>", 32021: "<|EOT|>" }],
];

/**
 * `tokens` say it where the file does not: files converted before the key existed have none. Throws
 * `OCTAVO_UNSUPPORTED_MODEL` when it is not known: cut elsewhere, text would become other ids than in training.
 */
export function preTokenizer(path: string, name: unknown, tokens: readonly string[]): PreTokenizer {
  const stated = name === undefined || name === "" || name === "default" ? undefined : name;
  const proven = PROOFS.find(([, proof]) => Object.entries(proof).every(([id, token]) => tokens[Number(id)] === token));
  const found = PRE_TOKENIZERS.get(stated ?? proven?.[0] ?? name);
  if (found) return found;
  const known = [...PRE_TOKENIZERS.keys()].join(", ");
  const what =
    stated === undefined
      ? `no tokenizer.ggml.pre, and the vocabulary of ${tokens.length} tokens does not say which one it needs`
      : `tokenizer.ggml.pre ${quoted(stated)}`;
  throw new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `${path}: ${what}; known are ${known}. If the model was trained with one of them, write it into the file: ` +
      "gguf-new-metadata --pre-tokenizer NAME OLD.gguf NEW.gguf (Python package gguf)",
  );
}

/** Cut by each of the expressions in turn, then written in the alphabet of bytes. */
function cut(...expressions: string[]): object {
  for (const expression of expressions) KNOWN.add(expression);
  const splits = expressions.map((Regex) => ({
    type: "Split",
    pattern: { Regex },
    behavior: "Isolated",
    invert: false,
  }));
  return { type: "Sequence", pretokenizers: [...splits, { ...BYTE_LEVEL, use_regex: false }] };
}

export function isKnownExpression(expression: string): boolean {
  return KNOWN.has(expression);
}
