/** The merges of a SentencePiece BPE vocabulary, which GGUF files do not list: its scores imply them. */
import type { MetadataValue } from "./gguf-header.ts";

/**
 * Pairs [left, right] whose join is a token, best first: by the score of the join, then by the ids of the parts. The same as
 * `generate_merges` of transformers.
 */
export function mergesFromScores(
  tokens: readonly string[],
  scores: readonly MetadataValue[] | undefined,
): [string, string][] {
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
