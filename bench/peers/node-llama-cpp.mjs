// node-llama-cpp: one GGUF file, one context with as many sequences as the job's largest batch.
// Usage: node node-llama-cpp.mjs JOB.json MODEL.gguf; prints one JSON document (SpeedJob and Speed of ts/bench/speed.ts).
import { readFileSync } from "node:fs";
import { getLlama } from "node-llama-cpp";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const llama = await getLlama({ gpu: false, build: "never", maxThreads: job.threads, logLevel: "error" });
const model = await llama.loadModel({ modelPath: process.argv[3] });

async function withContext(sequences, contextSize, measure) {
  const context = await model.createContext({
    sequences,
    contextSize,
    batchSize: 512,
    threads: { ideal: job.threads, min: job.threads },
  });
  try {
    return await measure(Array.from({ length: sequences }, () => context.getSequence()));
  } finally {
    await context.dispose();
  }
}

const prefill = () =>
  withContext(1, job.prefill.length + 64, async ([sequence]) => {
    const start = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(job.prefill);
    return (job.prefill.length / (performance.now() - start)) * 1000;
  });

/** Tokens per second from each row's first token to the last of all: the prompts are not in it. */
const decode = ({ prompts, tokens }) =>
  withContext(prompts.length, prompts[0].length + tokens + 16, async (sequences) => {
    let started = 0;
    let start = 0;
    await Promise.all(
      sequences.map(async (sequence, row) => {
        let produced = 0;
        for await (const _ of sequence.evaluate(prompts[row], { temperature: 0, yieldEogToken: true })) {
          produced += 1;
          if (produced === 1 && ++started === sequences.length) start = performance.now();
          if (produced === tokens) break;
        }
      }),
    );
    return ((prompts.length * (tokens - 1)) / (performance.now() - start)) * 1000;
  });

const result = { prefill: [], decode: {} };
for (let i = 0; i < job.repeats; i++) result.prefill.push(await prefill());
for (const d of job.decode) {
  result.decode[d.prompts.length] = [];
  for (let i = 0; i < job.repeats; i++) result.decode[d.prompts.length].push(await decode(d));
}
console.log(JSON.stringify(result));
process.exit(0);
