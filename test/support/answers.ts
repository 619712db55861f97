/** Requests with known prompts and options, and their answers in a form that `toEqual` compares bit by bit. */
import { createHash } from "node:crypto";
import type { Completion, Engine, GenerateOptions } from "../../ts/index.ts";
import { tokenIds, uniform } from "./random.ts";

export interface Job {
  readonly prompt: readonly number[];
  readonly options: GenerateOptions;
}

/** Prompts of many lengths; half of them greedy, half drawn with all kinds of options. All of them return their logits. */
export function randomJobs(count: number, vocabulary: number, longest = 100, seed = 1): Job[] {
  const draw = uniform(seed);
  const upTo = (limit: number) => 1 + Math.floor(draw() * limit);
  return Array.from({ length: count }, (_, index) => {
    const length = index === 0 ? longest : upTo(draw() < 0.5 ? 12 : longest);
    const sampled = {
      temperature: 0.5 + draw(),
      seed: index,
      topK: draw() < 0.5 ? upTo(50) : 0,
      topP: draw() < 0.5 ? 0.9 : 1,
      repetitionPenalty: draw() < 0.5 ? 1.2 : 1,
      frequencyPenalty: draw() < 0.5 ? 0.3 : 0,
      logitBias: { [upTo(vocabulary - 1)]: 4 },
      logprobs: 2,
    };
    return {
      prompt: tokenIds(seed * 1000 + index, length, vocabulary),
      options: { maxTokens: upTo(10), ignoreEos: true, logits: true, ...(index % 2 === 0 ? {} : sampled) },
    };
  });
}

/** What must be equal. Logits by a hash of their bits: -0 is not 0, NaN is NaN, and a large vocabulary is no burden. */
export function bitsOf({ ids, text, logits = [], logprobs }: Completion) {
  const hashes = logits.map((row) =>
    createHash("sha256")
      .update(new Uint8Array(row.buffer, row.byteOffset, row.byteLength))
      .digest("hex"),
  );
  return { ids, text, logprobs, logits: hashes };
}

/** All at once, in this order. */
export async function answerTogether(engine: Engine, jobs: readonly Job[]) {
  const generations = jobs.map(({ prompt, options }) => engine.generate(prompt, options));
  return (await Promise.all(generations.map((generation) => generation.complete()))).map(bitsOf);
}

/** One after the other: each has the device for itself. */
export async function answerAlone(engine: Engine, jobs: readonly Job[]) {
  const answers = [];
  for (const job of jobs) answers.push(...(await answerTogether(engine, [job])));
  return answers;
}

/** In an order and at moments that depend on `seed`: some wait for others, some come in the middle of steps, some are aborted. */
export async function answerAtRandom(engine: Engine, jobs: readonly Job[], seed: number) {
  const draw = uniform(seed);
  const order = jobs.map((_, index) => ({ index, key: draw() })).sort((a, b) => a.key - b.key);
  const answers: Promise<Completion>[] = [];
  for (const { index } of order) {
    const { prompt, options } = jobs[index]!;
    if (draw() < 0.2) await leaveEarly(engine, jobs[Math.floor(draw() * jobs.length)]!);
    const generation = engine.generate(prompt, options);
    answers[index] = generation.complete();
    if (draw() < 0.3) await generation[Symbol.asyncIterator]().next();
    else if (draw() < 0.2) await answers[index];
  }
  return (await Promise.all(answers)).map(bitsOf);
}

async function leaveEarly(engine: Engine, { prompt, options }: Job): Promise<void> {
  for await (const _ of engine.generate(prompt, options)) break;
}
