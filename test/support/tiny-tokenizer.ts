/** A byte-level BPE vocabulary small enough for tiny models: every byte, a few merges, three control tokens. */

/** GPT-2's printable stand-ins for bytes: printable ones are themselves, the others follow from U+0100 on. */
const BYTES: readonly string[] = (() => {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

const SPACE = BYTES[32]!;
/** Applied in this order; each makes one token of two. */
const MERGES: readonly (readonly [string, string])[] = [
  [SPACE, "t"],
  ["h", "e"],
  ["i", "n"],
  ["r", "e"],
  ["o", "n"],
  [`${SPACE}t`, "he"],
  ["e", "r"],
  [SPACE, "a"],
  [SPACE, "s"],
  ["n", "d"],
  [SPACE, "w"],
  ["o", "u"],
  ["in", "g"],
];
const CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;

export const TINY_TOKENS: readonly string[] = [...CONTROL, ...BYTES, ...MERGES.map((pair) => pair.join(""))];
export const TINY_EOS = 0;

/** `tokenizer.json` */
export const tinyTokenizer = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: CONTROL.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: null,
  decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    vocab: Object.fromEntries(TINY_TOKENS.map((token, id) => [token, id])),
    merges: MERGES.map((pair) => pair.join(" ")),
  },
};

/** `tokenizer_config.json` */
export const tinyTokenizerConfig = {
  tokenizer_class: "GPT2Tokenizer",
  bos_token: CONTROL[0],
  eos_token: CONTROL[0],
  clean_up_tokenization_spaces: false,
  chat_template:
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}" +
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
};
