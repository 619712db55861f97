/**
 * `make bench`: Octavo and its peers on the same prompts with as many threads, one after the other, several rounds.
 * Adds a line to bench/results/history.jsonl and writes the table of the README.
 */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { weightBytes } from "../ts/bench/costs.ts";
import { BATCHES, type Speed, speedJob } from "../ts/bench/speed.ts";
import { buildModel } from "../ts/model/families/index.ts";
import { openModel } from "../ts/model/source/index.ts";
import { Tokenizer } from "../ts/model/tokenizer.ts";
import { fuse } from "../ts/program/fuse.ts";
import { PEERS, preparePeers } from "./peers.ts";
import { run } from "./processes.ts";
import { median, type PeerResult, type Results, table } from "./table.ts";

const { values: options } = parseArgs({
  options: {
    threads: { type: "string", default: String(availableParallelism()) },
    rounds: { type: "string", default: "3" },
    repeats: { type: "string", default: "3" },
    /** Comma-separated beginnings of peers' names; all by default. Octavo always runs. */
    peers: { type: "string", default: "" },
  },
});
const say = (text: string) => console.error(`bench: ${text}`);
const root = join(import.meta.dirname, "..");
const results = join(import.meta.dirname, "results");

const manifest = await openModel("smollm2");
const model = manifest.path;
const tokenizer = Tokenizer.from(manifest);
const { output: described } = await run("git", ["describe", "--always", "--dirty=+", "--exclude=*"], { cwd: root });
const [threads, rounds, repeats] = [options.threads, options.rounds, options.repeats].map(Number) as [
  number,
  number,
  number,
];
mkdirSync(join(results, "raw"), { recursive: true });
const jobFile = join(results, "raw", "job.json");
writeFileSync(jobFile, JSON.stringify(speedJob((text) => tokenizer.encode(text), threads, repeats)));

const wanted = options.peers.split(",").filter(Boolean);
const peers = PEERS.filter(({ name }) => name === "octavo" || !wanted.length || wanted.some((w) => name.startsWith(w)));
if (peers.length > 1) await preparePeers(model, say);
const answers = new Map<string, { answer: Speed; peakBytes: number }[]>(peers.map(({ name }) => [name, []]));
for (let round = 1; round <= rounds; round++) {
  for (const peer of peers) {
    say(`round ${round} of ${rounds}: ${peer.name}`);
    const { output, peakBytes } = await run(peer.command, peer.args(jobFile, model), { cwd: root });
    // Libraries may print to stdout before the answer, which is the last line.
    const answer = JSON.parse(output.trim().split("\n").at(-1)!) as Speed;
    answers.get(peer.name)!.push({ answer, peakBytes });
  }
}

const plain = { context: 1, pages: 1, rows: 1, kv: "int16", output: { type: "sample" } } as const;
const program = buildModel(manifest, { weights: "int8", head: "16bit", threshold: "adaptive", ...plain });
const perStep = weightBytes(fuse(program));

const summarise = ({ name, arithmetic }: { name: string; arithmetic: string }): PeerResult => {
  const all = answers.get(name)!;
  const byBatch = (of: (batch: number) => number) => Object.fromEntries(BATCHES.map((b) => [b, of(b)]));
  const decode = byBatch((batch) => median(all.flatMap(({ answer }) => answer.decode[batch]!)));
  return {
    name,
    arithmetic,
    prefill: median(all.flatMap(({ answer }) => answer.prefill)),
    decode,
    peakBytes: median(all.map((a) => a.peakBytes)),
    ...(name === "octavo" && { gigabytesPerSecond: byBatch((batch) => (perStep * decode[batch]!) / batch / 1e9) }),
  };
};
const summary: Results = {
  commit: described.trim(),
  date: new Date().toISOString().slice(0, 10),
  machine: cpus()[0]?.model.trim() ?? "unknown",
  threads,
  rounds,
  repeats,
  peers: peers.map(summarise),
};
appendFileSync(join(results, "history.jsonl"), `${JSON.stringify(summary)}\n`);
const text = table(summary);
console.log(text);
if (peers.length === PEERS.length) {
  const readme = join(root, "README.md");
  const marked = /(<!-- bench -->\n)[\s\S]*?(\n<!-- \/bench -->)/;
  writeFileSync(
    readme,
    readFileSync(readme, "utf8").replace(marked, (_, before, after) => before + text + after),
  );
}
