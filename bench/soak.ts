/**
 * `make soak`: one engine under random requests, aborts and killed workers, for minutes or hours.
 * Every answer must be the one that its request had before anything was killed, to the last bit of its log probabilities; memory must
 * not grow; the books must agree; no process may be left. Says how long requests waited for the next worker.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { SAMPLE_TEXT } from "../ts/bench/sample-text.ts";
import { Engine, type GenerateOptions, type Generation } from "../ts/index.ts";

const { values } = parseArgs({
  options: {
    /** Workers to kill. */
    kills: { type: "string", default: "200" },
    /** Most seconds from a worker's first token to its end: a random part of them. */
    kill: { type: "string", default: "2" },
    model: { type: "string", default: "smollm2" },
    seed: { type: "string", default: "1" },
  },
});
const KILLS = Number(values.kills);
const CLIENTS = 64;
const JOBS = 96;
/** Resident bytes of a worker may be so many more than those of the first one: allocators keep what they had. */
const GROWTH = 64 * 2 ** 20;

interface Job {
  readonly prompt: readonly number[];
  readonly options: GenerateOptions;
}

const random = randomNumbers(Number(values.seed));
const upTo = (limit: number): number => Math.floor(random() * limit);
const count = { answered: 0, aborted: 0, killed: 0 };
const recoveries: number[] = [];
let killedAt: number | undefined;
let onFirstToken = (): void => {};

const engine = await Engine.load(values.model, {
  ...{ sequences: 16, context: 512, tokenBudget: 128 },
  onStep: ({ drawn }) => {
    if (drawn === 0) return;
    if (killedAt !== undefined) recoveries.push(performance.now() - killedAt);
    killedAt = undefined;
    onFirstToken();
  },
});
const ids = engine.tokenizer.encode(SAMPLE_TEXT);
const jobs = Array.from({ length: JOBS }, (_, index) => randomJob(index));
const expected = await Promise.all(jobs.map((job) => answer(ask(job))));
const pids = new Set<number>();
const [{ committed, measured } = { committed: 0, measured: 0 }] = await engine.memory();
let over = false;
const clients = Array.from({ length: CLIENTS }, client);
// The first client that gets another answer ends it all.
const failed = Promise.race(clients);
while (count.killed < KILLS) {
  // A worker that has drawn nothing is one that its requests may be blamed for.
  const first = new Promise<void>((resolve) => {
    onFirstToken = resolve;
  });
  await Promise.race([first, failed]);
  const [report] = await engine.memory();
  if (report!.committed !== committed) throw new Error(`${report!.committed} bytes are committed, not ${committed}`);
  if (report!.measured > measured + GROWTH) throw new Error(`the worker grew to ${report!.measured} bytes`);
  await sleep(random() * Number(values.kill) * 1000);
  const { pid, lost } = engine.deployment.devices[0]!;
  pids.add(pid);
  const known = new Promise((resolve) => lost.addEventListener("abort", resolve, { once: true }));
  process.kill(pid, random() < 0.9 ? "SIGKILL" : "SIGSEGV");
  await known; // Until then its last answers may come.
  killedAt = performance.now();
  count.killed += 1;
  process.stderr.write(`\r${JSON.stringify(count)} `);
}
over = true;
await Promise.all(clients);
await engine.audit();
const { restarts, resumed } = engine.statistics;
await engine.dispose();
for (const pid of pids) if (isAlive(pid)) throw new Error(`worker ${pid} lives on`);
recoveries.sort((a, b) => a - b);
const at = (share: number) => Math.round(recoveries[Math.floor(share * (recoveries.length - 1))]!);
const recoveryMs = { p50: at(0.5), p90: at(0.9), max: at(1) };
console.log(`\n${JSON.stringify({ ...count, restarts, resumed, recoveryMs })}`);

/** Greedy and drawn, with and without penalties, stop strings and log probabilities, from short prompts and long ones. */
function randomJob(index: number): Job {
  const start = upTo(64) * 4;
  const drawn = { temperature: 0.5 + random(), seed: index, topP: random() < 0.5 ? 0.9 : 1 };
  const penalties = random() < 0.5 ? { presencePenalty: 0.5, frequencyPenalty: 0.3 } : { repetitionPenalty: 1.2 };
  return {
    prompt: ids.slice(start, start + 4 + upTo(8) * 24),
    options: {
      ...{ maxTokens: 1 + upTo(48), ignoreEos: random() < 0.5 },
      ...(random() < 0.5 ? {} : drawn),
      ...(random() < 0.5 ? {} : penalties),
      ...(random() < 0.3 ? { logprobs: 3 } : {}),
      ...(random() < 0.3 ? { stop: [" the", "."] } : {}),
    },
  };
}

function ask({ prompt, options }: Job, signal?: AbortSignal): Generation {
  return engine.generate(prompt, { ...options, signal });
}

/** What must be equal, of the pieces and of the whole. */
async function answer(generation: Generation): Promise<string> {
  const streamed: number[] = [];
  for await (const piece of generation) streamed.push(...piece.ids);
  const { ids: whole, text, finishReason, logprobs } = await generation.complete();
  return JSON.stringify({ streamed, whole, text, finishReason, logprobs });
}

async function client(): Promise<void> {
  while (!over) {
    const index = upTo(JOBS);
    const stop = new AbortController();
    if (random() < 0.2) setTimeout(() => stop.abort(), random() * 1000);
    try {
      const given = await answer(ask(jobs[index]!, stop.signal));
      if (given !== expected[index]) throw new Error(`request ${index}: ${given} instead of ${expected[index]}`);
      count.answered += 1;
    } catch (error) {
      if (error !== stop.signal.reason) throw error;
      count.aborted += 1;
    }
  }
}

function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
