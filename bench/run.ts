/**
 * `make bench`: Octavo and its peers on the same prompts with as many threads, one after the other, several rounds.
 * Adds a line to bench/results/history.jsonl; a run of everything also writes the tables of the README.
 */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import { openModel } from "../ts/model/source/index.ts";
import { Tokenizer } from "../ts/model/tokenizer.ts";
import { chooseCases, makeJob } from "./cases.ts";
import { installEnvironment, type Tools } from "./install.ts";
import { features, machine } from "./machine.ts";
import { measurePeer, type Outcome, reasonOf } from "./measure.ts";
import { type BenchModel, benchModel, formOf } from "./models.ts";
import { HELP, type Options, parseOptions } from "./options.ts";
import { choosePeers, octavo, PEERS, type Peer, type Start, startOf } from "./peers.ts";
import { run } from "./processes.ts";
import { summarise } from "./summary.ts";
import { type Results, table } from "./table.ts";
import { weightsOf } from "./weights.ts";

const root = join(import.meta.dirname, "..");
const results = join(import.meta.dirname, "results");
const say = (text: string) => console.error(`bench: ${text}`);

interface Row {
  readonly peer: Peer;
  /** Absent when it could not be installed, or have its form of the model. */
  readonly start?: Start;
  readonly outcomes: Outcome[];
}

async function main(options: Options, signal: AbortSignal): Promise<void> {
  const tools: Tools = { say, signal };
  // Before anything of ours.
  const load = loadavg()[0]!;
  const cases = chooseCases(options.cases);
  const peers = choosePeers(options.peers).toSpliced(1, 0, ...options.octavo.map(octavo));
  const model = await benchModel(options.model, tools);
  const manifest = await openModel(model.path);
  const ids = Tokenizer.from(manifest).encode(readFileSync(join(root, "ts/eval/text/northanger-abbey.txt"), "utf8"));
  mkdirSync(join(results, "raw"), { recursive: true });
  const jobFile = (peer: Peer): string => {
    const short = peer.slow === true && !options.cases;
    const path = join(results, "raw", short ? "short-job.json" : "job.json");
    const wanted = short ? cases.filter((one) => one.short) : cases;
    writeFileSync(path, JSON.stringify(makeJob(ids, options.threads, wanted, options.repeats)));
    return path;
  };

  const rows: Row[] = [];
  for (const peer of peers) rows.push(await prepared(peer, model, jobFile(peer), tools));
  for (const row of rows) await startOnce(row, tools);
  const { output: described } = await run("git", ["describe", "--always", "--dirty=+", "--exclude=*"], { cwd: root });
  const finish = (rounds: number): Results => ({
    commit: described.trim(),
    date: new Date().toISOString().slice(0, 10),
    ...{ machine: machine(), features: features(), threads: options.threads, load, rounds },
    ...{ model: model.title, cases: cases.map(({ name }) => name) },
    peers: summarise(rows, cases, weightsOf(manifest)),
  });

  let round = 1;
  try {
    for (; round <= options.rounds; round++) {
      for (const { peer, start, outcomes } of rows) {
        // What failed once would fail again, and take as long.
        if (start === undefined || outcomes.some(({ failure }) => failure)) continue;
        const place = `round ${round} of ${options.rounds}: ${peer.name}`;
        say(place);
        const onTiming = (name: string) => say(`${place}: ${name}`);
        const outcome = await measurePeer(start, { cwd: root, signal, ...(options.verbose && { onTiming }) });
        if (outcome.failure) say(`${peer.name} failed: ${outcome.failure}`);
        outcomes.push(outcome);
      }
    }
  } catch (error) {
    if (signal.aborted && rows.some(({ outcomes }) => outcomes.length)) console.log(table(finish(round)));
    throw error;
  }

  const summary = finish(options.rounds);
  appendFileSync(join(results, "history.jsonl"), `${JSON.stringify(summary)}\n`);
  const text = table(summary);
  console.log(text);
  const everything = peers.length === PEERS.length && !options.peers && !options.cases && options.model === "smollm2";
  if (everything) writeReadme(text);
}

/** Its environment, its form of the model: what is missing is made. A peer that cannot be had is a row all the same. */
async function prepared(peer: Peer, model: BenchModel, job: string, tools: Tools): Promise<Row> {
  try {
    if (peer.environment !== undefined) {
      await installEnvironment(peer.environment, tools);
      // What writes the others' forms.
      if (peer.form !== "source") await installEnvironment("torch", tools);
    }
    return { peer, start: startOf(peer, job, await formOf(model, peer.form, tools)), outcomes: [] };
  } catch (error) {
    tools.signal.throwIfAborted();
    const failure = `not measured: ${reasonOf(error)}`;
    say(`${peer.name}: ${failure}`);
    return { peer, outcomes: [{ timings: [], failure }] };
  }
}

/** Up to its first token, so that what it compiles, and the system's cache of its files, are there for all rounds. */
async function startOnce({ peer, start, outcomes }: Row, { say, signal }: Tools): Promise<void> {
  if (start === undefined) return;
  say(`first start of ${peer.name}`);
  const enough = new AbortController();
  try {
    const either = AbortSignal.any([signal, enough.signal]);
    const outcome = await measurePeer(start, { cwd: root, signal: either, onTiming: () => enough.abort() });
    if (outcome.failure === undefined) return;
    say(`${peer.name} failed: ${outcome.failure}`);
    outcomes.push(outcome);
  } catch (error) {
    if (!enough.signal.aborted) throw error;
  }
}

function writeReadme(text: string): void {
  const readme = join(root, "README.md");
  const marked = /(<!-- bench -->\n)[\s\S]*?(\n<!-- \/bench -->)/;
  writeFileSync(
    readme,
    readFileSync(readme, "utf8").replace(marked, (_, before, after) => before + text + after),
  );
}

const interrupted = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => interrupted.abort(new Error(name)));
try {
  const options = parseOptions(process.argv.slice(2), availableParallelism());
  if (options.help) console.log(HELP);
  else await main(options, interrupted.signal);
} catch (error) {
  say(interrupted.signal.aborted ? "interrupted; nothing was recorded" : String((error as Error).message));
  process.exitCode = interrupted.signal.aborted ? 130 : 1;
}
