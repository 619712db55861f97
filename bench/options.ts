/** The command line of bench/run.ts. Pure. */
import { parseArgs } from "node:util";
import { CASES } from "./cases.ts";
import { PEERS } from "./peers.ts";

export interface Options {
  readonly help: boolean;
  readonly verbose: boolean;
  readonly threads: number;
  readonly rounds: number;
  readonly repeats: number;
  /** Comma-separated; empty for all. */
  readonly peers: string;
  readonly cases: string;
  readonly model: string;
  /** Of each further row of Octavo: options of `Engine.load`. */
  readonly octavo: readonly Readonly<Record<string, unknown>>[];
}

/** Rounds of a default run; with all peers it takes about 25 minutes on two cores. */
const ROUNDS = 2;

/** Throws what is wrong, in a line. */
export function parseOptions(args: readonly string[], cores: number): Options {
  const text = (initial: string) => ({ type: "string", default: initial }) as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: "boolean", short: "h", default: false },
      verbose: { type: "boolean", short: "v", default: false },
      threads: text(String(cores)),
      rounds: text(String(ROUNDS)),
      repeats: text("1"),
      peers: text(""),
      cases: text(""),
      model: text("smollm2"),
      octavo: { type: "string", multiple: true, default: [] },
    },
  });
  const count = (name: "threads" | "rounds" | "repeats"): number => {
    const number = Number(values[name]);
    if (Number.isInteger(number) && number >= 1) return number;
    throw new Error(`--${name} is "${values[name]}"; a whole number from 1 is needed`);
  };
  const { help, verbose, peers, cases, model } = values;
  const numbers = { threads: count("threads"), rounds: count("rounds"), repeats: count("repeats") };
  return { help, verbose, peers, cases, model, ...numbers, octavo: values.octavo.map(loadOptions) };
}

function loadOptions(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Error(`--octavo is ${text}; a JSON object of options is needed, such as {"head":"int8"}`);
}

export const HELP = `Octavo and its peers on the same prompts: npx tsx bench/run.ts [options], or make bench.
Peers are installed into bench/.cache and bench/node_modules, 15 GB with all of them.

  --peers a,b      parts of peers' names; all by default. Octavo always runs
  --cases a,b      all by default, and for slow peers the short ones
  --model name     smollm2 (default), qwen2.5-coder-1.5b, or the path of a GGUF file
  --rounds n       processes of each peer, one peer after the other (${ROUNDS})
  --repeats n      how many times as often each case is measured in a process (1)
  --threads n      of every peer (all cores)
  --octavo json    one more row of Octavo, with these options of Engine.load: '{"head":"int8"}'; may be repeated
  -v, --verbose    say when each measurement is done
  -h, --help

peers: ${PEERS.map(({ name }) => name).join(", ")}
cases: ${CASES.map(({ name }) => name).join(", ")}`;
