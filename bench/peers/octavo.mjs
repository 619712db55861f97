// Octavo as a user meets it: the built package, requests to an engine, one worker.
// Usage: node octavo.mjs JOB.json MODEL; prints one JSON document (`Speed` of ts/bench/speed.ts).
import { readFileSync } from "node:fs";
import { contextOf, measureSpeed } from "../../dist/ts/bench/speed.js";
import { Engine } from "../../dist/ts/index.js";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const sequences = Math.max(...job.decode.map((d) => d.prompts.length));
const options = { devices: "cpu:0", threads: job.threads, sequences, context: contextOf(job) };
const engine = await Engine.load(process.argv[3], options);
try {
  console.log(JSON.stringify(await measureSpeed(engine, job)));
} finally {
  await engine.dispose();
}
