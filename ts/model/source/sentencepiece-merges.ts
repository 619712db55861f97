/** The merges of a SentencePiece BPE vocabulary, which GGUF files do not list: its scores imply them. */
import type { MetadataValue } from "./gguf-header.ts";
import { invalid } from "./ranges.ts";

/** Each cut of a token is looked up, which reads the token: a second of that. A real vocabulary takes 0.03 of it. */
const MAX_READ = 1e9;

/**
 * Pairs [left, right] whose join is a token, best first: by the score of the join, then by the ids of the parts. The same as
 * `generate_merges` of transformers. Throws `OCTAVO_MODEL_FILE_INVALID` for a vocabulary of texts rather than of words.
 */
export function mergesFromScores(
  path: string,
  tokens: readonly string[],
  scores: readonly MetadataValue[] | undefined,
): [string, string][] {
  const read = tokens.reduce((sum, token) => sum + token.length ** 2, 0);
  if (read > MAX_READ) {
    const longest = tokens.reduce((most, token) => Math.max(most, token.length), 0);
    throw invalid(
      path,
      `tokenizer.ggml.tokens has tokens of up to ${longest} characters, too long to find the merges of`,
    );
  }
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges: { pair: [string, string]; score: number; left: number; right: number }[] = [];
  tokens.forEach((token, id) => {
    const score = Number(scores?.[id] ?? -id);
    // Cuts between characters, not inside a surrogate pair.
    for (let cut = 1; cut < token.length; cut++) {
      const unit = token.charCodeAt(cut);
      if (unit >= 0xdc00 && unit <= 0xdfff) continue;
      const pair: [string, string] = [token.slice(0, cut), token.slice(cut)];
      const [left, right] = [ids.get(pair[0]), ids.get(pair[1])];
      if (left !== undefined && right !== undefined) merges.push({ pair, score, left, right });
    }
  });
  merges.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right);
  return merges.map(({ pair }) => pair);
}
