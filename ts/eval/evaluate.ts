/**
 * How far int8 is from 16-bit: perplexity, mean KL divergence and agreement of the first choice, over windows of a text.
 *
 * The model is on the device twice, with 16-bit and with int8 weights. Each chunk of a window runs through the 16-bit program
 * first, which leaves its logits on the device ("reference"), and then through one int8 program per threshold, which reads them.
 * Schemes of the LLM.int8() paper are judged likewise; they quantise the 16-bit weights at each step.
 */
import type { KvType } from "../model/families/index.ts";
import { formatScheme, type Scheme } from "../program/scheme.ts";
import { formatThreshold, type Threshold, thresholdAttributes } from "../program/threshold.ts";
import { eachChunk, loadingOf, openText, type TextOptions } from "./open.ts";
import { defineRuns, runChunk } from "./run.ts";

export interface EvaluateOptions extends TextOptions {
  /** One int8 run each. Default 0, 6, "adaptive", "all"; none when there are schemes. */
  readonly thresholds?: readonly Threshold[] | undefined;
  /** One run each, after the thresholds. */
  readonly schemes?: readonly Scheme[] | undefined;
}

export interface EvaluationRun {
  readonly weights: "16bit" | "int8";
  /** "0", "6", "adaptive", "all", "6:4"; null for the 16-bit run. */
  readonly threshold: string | null;
  /** Only of a run by a scheme: "absmax-vector-decomposed". */
  readonly scheme?: string;
  /** Of the output layer. */
  readonly head: "16bit" | "int8";
  /** Of an int8 output layer; null where it is 16-bit or by the scheme. */
  readonly headThreshold: string | null;
  /** Integers of K and V in memory. */
  readonly kv: KvType;
  readonly perplexity: number;
  /** Mean KL divergence from the 16-bit run per token, in nats. */
  readonly kl: number;
  /** Share of tokens for which the likeliest next token is the 16-bit run's. */
  readonly top1: number;
  /** Share of quantised activations that are outliers; 0 for schemes, which do not count them. */
  readonly carries: number;
}

export interface Evaluation {
  readonly model: string;
  readonly tokens: number;
  readonly scored: number;
  readonly window: number;
  /** The 16-bit run first, then the thresholds in their order, then the schemes. */
  readonly runs: readonly EvaluationRun[];
}

export const DEFAULT_THRESHOLDS: readonly Threshold[] = [0, 6, "adaptive", "all"];

/** Throws what `Engine.load` throws, and `OCTAVO_BAD_ARGUMENT` for a text of less than two tokens. */
export async function evaluate(model: string, text: string, options: EvaluateOptions = {}): Promise<Evaluation> {
  const { schemes = [] } = options;
  const { thresholds = schemes.length > 0 ? [] : DEFAULT_THRESHOLDS } = options;
  for (const threshold of thresholds) thresholdAttributes(threshold);
  await using opened = await openText(model, text, options);
  const { tokens, chunks, window } = opened;
  const { head, headThreshold, kv } = options;
  const runs = await defineRuns(opened, { ...loadingOf(options), thresholds, schemes, head, headThreshold, kv });
  // All at once: the worker runs them in the order in which they were sent.
  await eachChunk(opened, options, (chunk) => Promise.all(runs.map((run) => runChunk(run, chunk, tokens))));
  return {
    model,
    tokens: tokens.length,
    scored: chunks.reduce((sum, { scored }) => sum + scored, 0),
    window,
    runs: runs.map(({ threshold, scheme, head, headThreshold: own, kv, tally }): EvaluationRun => {
      const { perplexity, kl, top1, carries } = tally;
      const output = { head, headThreshold: own === null ? null : formatThreshold(own), kv };
      // Without a reference, `score` compares with the text; the 16-bit run agrees with itself.
      if (threshold === null) return { weights: "16bit", threshold, ...output, perplexity, kl: 0, top1: 1, carries: 0 };
      const named = scheme === undefined ? {} : { scheme: formatScheme(scheme) };
      const judged = { weights: "int8", threshold: formatThreshold(threshold), ...named, ...output } as const;
      return { ...judged, perplexity, kl, top1, carries };
    }),
  };
}
