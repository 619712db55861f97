/** How a byte-level vocabulary cuts text before its merges: `tokenizer.ggml.pre` -> `pre_tokenizer` of tokenizer.json. */
import { OctavoError } from "../../errors.ts";
import { quoted } from "../../quoted.ts";

export const BYTE_LEVEL = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };

const GPT2 = BYTE_LEVEL;
/** Each digit alone, then as GPT-2 (the published tokenizer.json of SmolLM and StarCoder). */
const SMOLLM = sequence({ type: "Digits", individual_digits: true }, BYTE_LEVEL);
const LLAMA3 = split(
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
);
const QWEN2 = split(
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
);
const TEKKEN = split(
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" +
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" +
    "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
);

/** Names of llama.cpp (`llama-vocab.cpp`). */
const PRE_TOKENIZERS: Readonly<Record<string, object>> = {
  "gpt-2": GPT2,
  default: GPT2,
  smollm: SMOLLM,
  starcoder: SMOLLM,
  "llama-bpe": LLAMA3,
  "llama-v3": LLAMA3,
  llama3: LLAMA3,
  qwen2: QWEN2,
  "deepseek-r1-qwen": QWEN2,
  tekken: TEKKEN,
};

/** Throws `OCTAVO_UNSUPPORTED_MODEL` for a name not known: cut elsewhere, text would become other ids than in training. */
export function preTokenizer(path: string, name: string): object {
  const found = Object.hasOwn(PRE_TOKENIZERS, name) ? PRE_TOKENIZERS[name] : undefined;
  if (found) return found;
  throw new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `${path}: tokenizer.ggml.pre ${quoted(name)}; known are ${Object.keys(PRE_TOKENIZERS).join(", ")}`,
  );
}

function split(regex: string): object {
  const cut = { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false };
  return sequence(cut, { ...BYTE_LEVEL, use_regex: false });
}

function sequence(...pretokenizers: object[]): object {
  return { type: "Sequence", pretokenizers };
}
