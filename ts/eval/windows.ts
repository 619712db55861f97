/** Cuts a token sequence into windows, and windows into the chunks that steps take. Pure. */

/** Tokens `from ... to` of the text: a part of a window, run in one step. */
export interface Chunk {
  readonly from: number;
  readonly to: number;
  /** Where its window begins: position 0. */
  readonly start: number;
  /** Tokens of the chunk that have a next one in the window: these are scored. */
  readonly scored: number;
}

/**
 * Windows follow each other without overlap; the last one may be shorter. The first token of a window has no context and
 * is not scored, so a window of one token is left out.
 */
export function cutWindows(tokens: number, window: number, chunk: number): Chunk[] {
  const chunks: Chunk[] = [];
  for (let start = 0; start + 1 < tokens; start += window) {
    const end = Math.min(start + window, tokens);
    for (let from = start; from < end; from += chunk) {
      const to = Math.min(from + chunk, end);
      const scored = to === end ? to - from - 1 : to - from;
      if (scored > 0) chunks.push({ from, to, start, scored });
    }
  }
  return chunks;
}
