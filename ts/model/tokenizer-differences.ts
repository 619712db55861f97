/** Where @huggingface/tokenizers (0.2.0) cuts text elsewhere than the Rust library that models are trained with. */

/**
 * `Digits` means Unicode's numbers (`char::is_numeric`: also ½, ² and Ⅷ), and `\d` in JavaScript. Returns the pre-tokenizer of a
 * tokenizer.json with a cut at `\p{N}` instead, which both libraries read alike.
 */
export function withUnicodeDigits(preTokenizer: unknown): unknown {
  if (typeof preTokenizer !== "object" || preTokenizer === null || !("type" in preTokenizer)) return preTokenizer;
  if (
    preTokenizer.type === "Sequence" &&
    "pretokenizers" in preTokenizer &&
    Array.isArray(preTokenizer.pretokenizers)
  ) {
    return { ...preTokenizer, pretokenizers: preTokenizer.pretokenizers.map(withUnicodeDigits) };
  }
  if (preTokenizer.type !== "Digits") return preTokenizer;
  const alone = "individual_digits" in preTokenizer && preTokenizer.individual_digits === true;
  const pattern = { Regex: alone ? "\\p{N}" : "\\p{N}+" };
  return { type: "Split", pattern, behavior: "Isolated", invert: false };
}
