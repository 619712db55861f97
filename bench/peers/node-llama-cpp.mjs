// llama.cpp through node-llama-cpp: a context per measurement, with as many sequences as it has prompts, flash attention on.
// Usage: node node-llama-cpp.mjs JOB.json MODEL.gguf
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { getLlama } from "node-llama-cpp";
import { measure, say } from "./job.mjs";

const folder = join(dirname(fileURLToPath(import.meta.resolve("node-llama-cpp"))), "..");
const read = (name) => createRequire(import.meta.url)(join(folder, name));
say({ version: `${read("package.json").version} (llama.cpp ${read("llama/llama.cpp.info.json").tag})` });

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const llama = await getLlama({ gpu: false, build: "never", maxThreads: job.threads, logLevel: "error" });
const model = await llama.loadModel({ modelPath: process.argv[3] });
const options = { batchSize: 512, flashAttention: true, threads: { ideal: job.threads, min: job.threads } };
/** Of a measurement that only prepares the next one: its context stays, for what it cached. */
let prepared;

for (const [index, measurement] of job.measurements.entries()) {
  const next = job.measurements[index + 1];
  const preparing = measurement.name.startsWith("before ");
  const { prompts, limit } = preparing ? next : measurement;
  const contextSize = prompts[0].length + limit;
  const context = prepared ?? (await model.createContext({ ...options, sequences: prompts.length, contextSize }));
  const sequences = context.octavoSequences ?? prompts.map(() => context.getSequence());
  prepared = preparing ? Object.assign(context, { octavoSequences: sequences }) : undefined;
  const start = (prompt, row) => answer(sequences[row], prompt);
  say(await measure(measurement, start));
  if (!preparing) await context.dispose();
}
process.exit(0);

/** What the sequence holds of the prompt already is not computed again, as in the package's own sessions. */
async function* answer(sequence, prompt) {
  const held = sequence.contextTokens;
  let same = 0;
  while (same < Math.min(held.length, prompt.length - 1) && held[same] === prompt[same]) same += 1;
  if (same < held.length) await sequence.eraseContextTokenRanges([{ start: same, end: held.length }]);
  yield* sequence.evaluate(prompt.slice(same), { temperature: 0, yieldEogToken: true });
}
