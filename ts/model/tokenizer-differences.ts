/** Where @huggingface/tokenizers (0.2.0) cuts text elsewhere than the Rust library that models are trained with. */

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/**
 * The pre-tokenizer of a tokenizer.json, said in a way that both libraries read alike: as `Split`, whose expressions the
 * JavaScript library translates.
 * - `Digits` means Unicode's numbers (`char::is_numeric`: also ½, ² and Ⅷ); in JavaScript it is `\d`.
 * - The white space of `ByteLevel`'s own expression has U+0085 and lacks U+FEFF; in JavaScript it is the other way round.
 */
export function sameCuts(preTokenizer: unknown): unknown {
  if (!isStep(preTokenizer)) return preTokenizer;
  const { type } = preTokenizer;
  if (type === "Sequence" && Array.isArray(preTokenizer.pretokenizers)) {
    return { ...preTokenizer, pretokenizers: preTokenizer.pretokenizers.map(sameCuts) };
  }
  if (type === "Digits") return split(preTokenizer.individual_digits === true ? "\\p{N}" : "\\p{N}+");
  // With a prefix space it must see the text before it is cut; no model of the families here has one.
  if (type === "ByteLevel" && preTokenizer.use_regex !== false && preTokenizer.add_prefix_space !== true) {
    return { type: "Sequence", pretokenizers: [split(GPT2), { ...preTokenizer, use_regex: false }] };
  }
  return preTokenizer;
}

function isStep(value: unknown): value is { readonly type: unknown; readonly [key: string]: unknown } {
  return typeof value === "object" && value !== null && "type" in value;
}

function split(regex: string): object {
  return { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false };
}
