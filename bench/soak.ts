/**
 * `make soak`: one engine under random requests, aborts and killed workers, for minutes or hours.
 * Every greedy answer must equal the first one to the same prompt; memory must not grow; no process may be left.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { SAMPLE_TEXT } from "../ts/bench/sample-text.ts";
import { Engine, OctavoError } from "../ts/index.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    model: { type: "string", default: "smollm2" },
    seed: { type: "string", default: "1" },
    /** Seconds between two killed workers. */
    kill: { type: "string", default: "30" },
  },
});
const end = Date.now() + Number(values.minutes) * 60_000;
const CLIENTS = 24;
/** Resident bytes of the worker may grow by this much after the first round, for allocators keep what they had. */
const GROWTH = 64 * 2 ** 20;

const count = { answered: 0, aborted: 0, lost: 0, killed: 0 };
const answers = new Map<string, string>();

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

async function client(
  engine: Engine,
  ids: readonly number[],
  random: () => number,
  until: () => boolean,
): Promise<void> {
  while (!until()) {
    const start = Math.floor(random() * 64) * 4;
    const prompt = ids.slice(start, start + 4 + Math.floor(random() * 8) * 16);
    const maxTokens = 1 + Math.floor(random() * 4) * 12;
    const stop = new AbortController();
    const aborting = random() < 0.2;
    if (aborting) setTimeout(() => stop.abort(), random() * 300);
    try {
      const { ids: drawn } = await engine
        .generate(prompt, { maxTokens, temperature: 0, ignoreEos: true, signal: stop.signal })
        .complete();
      const key = prompt.join();
      const known = answers.get(key)?.split(",") ?? [];
      const common = Math.min(known.length, drawn.length);
      if (known.slice(0, common).join() !== drawn.slice(0, common).join()) throw new Error(`another answer to ${key}`);
      if (drawn.length > known.length) answers.set(key, drawn.join());
      count.answered += 1;
    } catch (error) {
      if (stop.signal.aborted) count.aborted += 1;
      else if (OctavoError.isInstance(error) && error.code === "OCTAVO_WORKER_LOST" && error.retryable) count.lost += 1;
      else throw error;
    }
  }
}

const random = randomNumbers(Number(values.seed));
const engine = await Engine.load(values.model, { sequences: 8, context: 512 });
const ids = engine.tokenizer.encode(SAMPLE_TEXT);
const clients = Array.from({ length: CLIENTS }, () => client(engine, ids, random, () => Date.now() >= end));
const pids = new Set<number>();
let ceiling: number | undefined;
let killAt = Date.now() + Number(values.kill) * 1000;
while (Date.now() < end) {
  await sleep(1000);
  const [report] = await engine.memory();
  pids.add(engine.deployment.devices[0]!.pid);
  ceiling ??= report!.committed + GROWTH + report!.measured;
  if (report!.measured > ceiling) throw new Error(`the worker grew to ${report!.measured} bytes`);
  process.stderr.write(`\r${JSON.stringify(count)} ${Math.max(0, Math.round((end - Date.now()) / 1000))} s left  `);
  if (Date.now() < killAt) continue;
  process.kill(engine.deployment.devices[0]!.pid, "SIGKILL");
  count.killed += 1;
  killAt = Date.now() + Number(values.kill) * 1000;
}
await Promise.all(clients);
await engine.dispose();
for (const pid of pids) if (isAlive(pid)) throw new Error(`worker ${pid} lives on`);
console.log(`\n${JSON.stringify(count)}`);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
