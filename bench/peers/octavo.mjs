// Octavo as a user meets it: the built package, Engine.generate, one worker.
// Usage: node octavo.mjs JOB.json MODEL; prints one JSON document (see ../job.ts).
import { readFileSync } from "node:fs";
import { Engine } from "../../dist/ts/index.js";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const sequences = Math.max(...job.decode.map((d) => d.prompts.length));
const engine = await Engine.load(process.argv[3], { devices: "cpu:0", threads: job.threads, sequences, context: 640 });

async function prefill() {
  const start = performance.now();
  await engine.generate(job.prefill, { maxTokens: 1, temperature: 0, ignoreEos: true }).complete();
  return (job.prefill.length / (performance.now() - start)) * 1000;
}

/** Tokens per second from each row's first token to the last of all: the prompts are not in it. */
async function decode({ prompts, tokens }) {
  let started = 0;
  let start = 0;
  await Promise.all(
    prompts.map(async (prompt) => {
      let first = true;
      for await (const _ of engine.generate(prompt, { maxTokens: tokens, temperature: 0, ignoreEos: true })) {
        if (first && ++started === prompts.length) start = performance.now();
        first = false;
      }
    }),
  );
  return ((prompts.length * (tokens - 1)) / (performance.now() - start)) * 1000;
}

try {
  const result = { prefill: [], decode: {} };
  for (let i = 0; i < job.repeats; i++) result.prefill.push(await prefill());
  for (const d of job.decode) {
    result.decode[d.prompts.length] = [];
    for (let i = 0; i < job.repeats; i++) result.decode[d.prompts.length].push(await decode(d));
  }
  console.log(JSON.stringify(result));
} finally {
  await engine.dispose();
}
