/** Which tokens of a GGUF vocabulary end an answer. Files often name only the end of a text, and chats end turns with another. */

/** `special_eog_ids` of llama.cpp (`llama-vocab.cpp`): known by their texts. */
const ENDS: ReadonlySet<string> = new Set([
  ...["<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"],
  ...["<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>"],
  ...["<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["],
  // Code models go on with another file after these.
  ...["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
  ...["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>"],
]);
/** Keys of the metadata, without `tokenizer.ggml.` and `_token_id`. */
const KEYS = ["eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep"];

/** A known text counts where its token is a control token. */
export function endOfGeneration(
  tokens: readonly string[],
  isControl: (id: number) => boolean,
  idOf: (key: string) => number | undefined,
): number[] {
  const ids = new Set(KEYS.flatMap((key) => idOf(key) ?? []));
  for (const [id, token] of tokens.entries()) if (isControl(id) && ENDS.has(token)) ids.add(id);
  const has = (token: string) => ids.has(tokens.indexOf(token));
  // In these formats a message ends there, and the answer goes on.
  if ((has("<|return|>") && has("<|call|>")) || (has("<|calls|>") && has("<|flush|>")))
    ids.delete(tokens.indexOf("<|end|>"));
  if (has("<|tool_response>")) ids.delete(tokens.indexOf("</s>"));
  return [...ids];
}
