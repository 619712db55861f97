// Octavo as a user meets it: the built package, requests to an engine, one worker.
// Usage: node octavo.mjs JOB.json MODEL OPTIONS; OPTIONS is a JSON object of `Engine.load`'s options.
import { readFileSync } from "node:fs";
import { Engine } from "../../dist/ts/index.js";
import { measure, say } from "./job.mjs";

/** Positions above which a measurement runs in an engine for few long sequences. */
const LONG = 1024;
/** Whatever a model's generation_config.json says: all peers do the same work. */
const GREEDY = { temperature: 0, repetitionPenalty: 1, stop: [], ignoreEos: true };

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const options = { devices: "cpu:0", threads: job.threads, ...JSON.parse(process.argv[4] ?? "{}") };
const positions = ({ prompts, limit }) => prompts[0].length + limit;

say({ version: JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version });
for (const long of [false, true]) {
  const measurements = job.measurements.filter((one) => positions(one) > LONG === long);
  if (measurements.length === 0) continue;
  const context = Math.max(...measurements.map(positions));
  const sequences = Math.max(...measurements.map(({ prompts }) => prompts.length));
  const engine = await Engine.load(process.argv[3], { ...options, context, sequences });
  try {
    for (const measurement of measurements) {
      say(
        await measure(measurement, async function* (prompt, _row, maxTokens) {
          for await (const { ids } of engine.generate(prompt, { ...GREEDY, maxTokens })) yield* ids;
        }),
      );
    }
  } finally {
    await engine.dispose();
  }
}
