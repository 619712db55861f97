/** Tokens per second of a loaded model, as a user meets them: requests to the engine, all of them greedy. */
import type { Engine } from "../engine/engine.ts";
import { badArgument, type OctavoError } from "../errors.ts";
import { SAMPLE_TEXT } from "./sample-text.ts";

/** What is measured. */
export interface SpeedJob {
  readonly repeats: number;
  /** Ids of one prompt; measured until its first token is there. */
  readonly prefill: readonly number[];
  /** One entry per batch size: a prompt for each row, and how many tokens each row makes without stopping. */
  readonly decode: readonly { readonly prompts: readonly (readonly number[])[]; readonly tokens: number }[];
}

/** Tokens per second, one number per repeat; `decode` by batch size. */
export interface Speed {
  readonly prefill: readonly number[];
  readonly decode: Readonly<Record<string, readonly number[]>>;
}

export const PREFILL = 512;
export const BATCHES = [1, 8, 32] as const;
/** Tokens of each row's prompt. */
const DEPTH = 32;
/** Tokens from one row's prompt to the next: overlapping windows of one text. */
const PROMPT_DISTANCE = 16;
const DECODE_TOKENS = [
  { from: 1, tokens: 128 },
  { from: 8, tokens: 96 },
  { from: 32, tokens: 64 },
] as const;
export interface JobOptions {
  /** Tokens of the prompt that is measured; default 512. */
  readonly prefill?: number | undefined;
  /** Sequences that decode together, a measurement each; default 1, 8 and 32. */
  readonly batches?: readonly number[] | undefined;
  /** Tokens that each sequence has behind it when it begins to decode; default 32. */
  readonly depth?: number | undefined;
}

export function speedJob(encode: (text: string) => number[], repeats: number, options: JobOptions = {}): SpeedJob {
  const { prefill = PREFILL, batches = BATCHES, depth = DEPTH } = options;
  const ids = encode(SAMPLE_TEXT);
  // What is longer than the text goes on at its beginning.
  const piece = (start: number, length: number) =>
    Array.from({ length }, (_, index) => ids[(start + index) % ids.length]!);
  return {
    repeats,
    prefill: piece(0, prefill),
    decode: batches.map((batch) => ({
      prompts: Array.from({ length: batch }, (_, row) => piece(row * PROMPT_DISTANCE, depth)),
      tokens: DECODE_TOKENS.findLast(({ from }) => from <= batch)!.tokens,
    })),
  };
}

/** Positions that the longest request of a job needs. */
export function contextOf({ prefill, decode }: SpeedJob): number {
  return Math.max(prefill.length + 1, ...decode.map(({ prompts, tokens }) => prompts[0]!.length + tokens));
}

/** `onProgress(done, total)` after each measurement. */
export async function measureSpeed(
  engine: Engine,
  job: SpeedJob,
  options: { readonly signal?: AbortSignal; readonly onProgress?: (done: number, total: number) => void } = {},
): Promise<Speed> {
  const { signal, onProgress } = options;
  const total = job.repeats * (1 + job.decode.length);
  let done = 0;
  const repeat = async (measure: () => Promise<number>): Promise<number[]> => {
    const values: number[] = [];
    for (let i = 0; i < job.repeats; i++) {
      values.push(await measure());
      onProgress?.(++done, total);
    }
    return values;
  };
  const prefill = await repeat(() => measurePrefill(engine, job.prefill, signal));
  const decode: Record<string, number[]> = {};
  for (const { prompts, tokens } of job.decode) {
    decode[prompts.length] = await repeat(() => measureDecode(engine, prompts, tokens, signal));
  }
  return { prefill, decode };
}

/** Whatever a model's generation_config.json says: models and peers do the same work. */
const GREEDY = { temperature: 0, repetitionPenalty: 1, stop: [], ignoreEos: true } as const;

async function measurePrefill(engine: Engine, prompt: readonly number[], signal?: AbortSignal): Promise<number> {
  const start = performance.now();
  await engine.generate(prompt, { ...GREEDY, maxTokens: 1, ...(signal && { signal }) }).complete();
  return (prompt.length / (performance.now() - start)) * 1000;
}

/**
 * From the moment that every row has its first token to the last token of all, and the tokens of that time: neither prompts nor what
 * early rows say beside others' prompts are in it. Throws `OCTAVO_BAD_ARGUMENT` for rows that do not run together.
 */
async function measureDecode(
  engine: Engine,
  prompts: readonly (readonly number[])[],
  maxTokens: number,
  signal?: AbortSignal,
): Promise<number> {
  let [started, ended, start, drawn] = [0, 0, 0, 0];
  await Promise.all(
    prompts.map(async (prompt) => {
      let first = true;
      for await (const _ of engine.generate(prompt, { ...GREEDY, maxTokens, ...(signal && { signal }) })) {
        if (start > 0) drawn += 1;
        if (first && ++started === prompts.length) {
          if (ended > 0) throw apart(prompts.length);
          start = performance.now();
        }
        first = false;
      }
      ended += 1;
    }),
  );
  return (drawn / (performance.now() - start)) * 1000;
}

function apart(rows: number): OctavoError {
  const text = `${rows} sequences do not run together: some had ended before the last one began`;
  return badArgument(`${text}. Give more memory or a smaller context, or measure fewer`);
}
