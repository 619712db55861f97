/** What every peer is asked to do, and what it answers: the same ids, the same number of tokens, the same threads. */
import { SAMPLE_TEXT } from "../ts/bench/sample-text.ts";
import { openModel } from "../ts/model/source/index.ts";
import { Tokenizer } from "../ts/model/tokenizer.ts";

export interface Job {
  threads: number;
  repeats: number;
  /** Ids of one prompt; measured until its first token is there. */
  prefill: number[];
  /** One entry per batch size: a prompt for each row, and how many tokens each row makes, greedily, without stopping. */
  decode: { prompts: number[][]; tokens: number }[];
}

/** Tokens per second, one number per repeat; `decode` by batch size. */
export interface Answer {
  prefill: number[];
  decode: Record<string, number[]>;
}

export const PREFILL = 512;
export const BATCHES = [1, 8, 32] as const;
const PROMPT_TOKENS = 32;
const DECODE_TOKENS: Record<number, number> = { 1: 128, 8: 96, 32: 64 };

/** Tokens from one row's prompt to the next: overlapping windows of one text. */
const PROMPT_DISTANCE = 16;

export async function makeJob(model: string, threads: number, repeats: number): Promise<Job> {
  const ids = Tokenizer.from(await openModel(model)).encode(SAMPLE_TEXT);
  const piece = (start: number, length: number) => ids.slice(start, start + length);
  return {
    threads,
    repeats,
    prefill: piece(0, PREFILL),
    decode: BATCHES.map((batch) => ({
      prompts: Array.from({ length: batch }, (_, row) => piece(row * PROMPT_DISTANCE, PROMPT_TOKENS)),
      tokens: DECODE_TOKENS[batch]!,
    })),
  };
}
