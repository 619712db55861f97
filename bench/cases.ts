/** What is measured: requests that every peer gets alike, and the columns that are computed from their times. Pure. */

/** One line of a job. All prompts are submitted at once, greedy and without stopping. */
export interface Measurement {
  readonly name: string;
  readonly prompts: readonly (readonly number[])[];
  /** Tokens that rows make on average after all of them have their first one; 0 ends the measurement there. */
  readonly tokens: number;
  /** Most tokens of a row: `tokens`, and what it may make while other rows' prompts are still computed. */
  readonly limit: number;
}

/** What a peer's process reads. Python peers: bench/peers/job.py. */
export interface Job {
  readonly threads: number;
  /** Positions that the longest row needs. */
  readonly context: number;
  readonly measurements: readonly Measurement[];
}

/** What it prints of each measurement, in the job's order. */
export interface Timing {
  readonly name: string;
  /** Seconds until all rows have their first token. */
  readonly first: number;
  /** Tokens after that, and their seconds. */
  readonly made: number;
  readonly seconds: number;
  /** The first row's first ids. */
  readonly answer: readonly number[];
}

interface Kind {
  readonly rows: number;
  readonly prompt: number;
  readonly tokens: number;
  /** In one process; more where one takes little time. */
  readonly repeats: number;
  /** Leading tokens that all prompts share, and that an earlier request had too. */
  readonly shared?: number;
}

const KINDS = {
  start: { rows: 1, prompt: 32, tokens: 0, repeats: 1 },
  "prefill 512": { rows: 1, prompt: 512, tokens: 0, repeats: 3 },
  "batch 1": { rows: 1, prompt: 32, tokens: 96, repeats: 3 },
  "batch 8": { rows: 8, prompt: 32, tokens: 64, repeats: 3 },
  "batch 32": { rows: 32, prompt: 32, tokens: 48, repeats: 2 },
  "batch 64": { rows: 64, prompt: 32, tokens: 32, repeats: 1 },
  "batch 128": { rows: 128, prompt: 32, tokens: 24, repeats: 1 },
  "1 x 4,096": { rows: 1, prompt: 4096, tokens: 48, repeats: 1 },
  "8 x 2,048": { rows: 8, prompt: 2048, tokens: 16, repeats: 1 },
  prefix: { rows: 8, prompt: 1056, tokens: 0, repeats: 1, shared: 1024 },
} as const satisfies Record<string, Kind>;
type KindName = keyof typeof KINDS;

export interface Case {
  /** On the command line. */
  readonly name: string;
  /** Over its column. */
  readonly title: string;
  readonly table: "prompts" | "decode";
  readonly unit: "tokens/s" | "seconds" | "MiB";
  /** Absent for what is watched from outside. */
  readonly kind?: KindName;
  readonly value?: (timing: Timing) => number;
  /** Short enough for peers that are slow. */
  readonly short: boolean;
}

const prompts = (name: string, title: string, kind: KindName, short = false): Case => {
  const { rows, prompt } = KINDS[kind];
  return {
    name,
    title,
    table: "prompts",
    unit: "tokens/s",
    kind,
    value: ({ first }) => (rows * prompt) / first,
    short,
  };
};
const decode = (name: string, title: string, kind: KindName, short = false): Case => {
  const value = ({ made, seconds }: Timing) => made / seconds;
  return { name, title, table: "decode", unit: "tokens/s", kind, value, short };
};

export const CASES: readonly Case[] = [
  prompts("prefill-512", "prefill 512", "prefill 512", true),
  prompts("prefill-4096", "prefill 4,096", "1 x 4,096"),
  prompts("prefix", "8 prompts, 1,024 shared", "prefix"),
  { name: "start", title: "start to first token", table: "prompts", unit: "seconds", kind: "start", short: true },
  { name: "memory", title: "peak RSS", table: "prompts", unit: "MiB", short: true },
  decode("batch-1", "batch 1", "batch 1", true),
  decode("batch-8", "batch 8", "batch 8", true),
  decode("batch-32", "batch 32", "batch 32", true),
  decode("batch-64", "batch 64", "batch 64"),
  decode("batch-128", "batch 128", "batch 128"),
  decode("context-4096", "1 at 4,096", "1 x 4,096"),
  decode("context-2048", "8 at 2,048", "8 x 2,048"),
];

/** Those that `names` lists, separated by commas; all for an empty text. Throws for a name that is none. */
export function chooseCases(names: string): readonly Case[] {
  const wanted = names.split(",").filter(Boolean);
  const unknown = wanted.find((name) => !CASES.some((one) => one.name === name));
  if (unknown !== undefined) {
    throw new Error(`no case "${unknown}"; there are ${CASES.map(({ name }) => name).join(", ")}`);
  }
  return wanted.length ? CASES.filter(({ name }) => wanted.includes(name)) : CASES;
}

/** The measurement that is always the first: what a process takes to its first token. */
export const START = "start";
/** Precedes the name of measurements that only prepare the next one. */
const UNTIMED = "before ";
/** First token ids of prompts: no two begin alike, so that no cache of prefixes makes a repetition fast. */
const FIRST_SALT = 1000;
/** Tokens from one row's prompt to the next: overlapping windows of one text. */
const DISTANCE = 16;

/** `text`: token ids, as many as the longest prompt and its row's distance need. Throws when there are fewer. */
export function makeJob(text: readonly number[], threads: number, cases: readonly Case[], repeats: number): Job {
  let salt = FIRST_SALT;
  const window = (start: number, length: number): number[] => {
    if (start + length > text.length) throw new Error(`a text of ${text.length} tokens is too short`);
    return text.slice(start, start + length);
  };
  const salted = (start: number, length: number) => [salt++, ...window(start, length - 1)];
  const promptsOf = ({ rows, prompt, shared }: Kind): number[][] => {
    const row = (index: number) => index * DISTANCE;
    if (shared === undefined) return Array.from({ length: rows }, (_, index) => salted(row(index), prompt));
    const common = salted(0, shared);
    const own = (index: number) => window(shared + row(index), prompt - shared);
    return Array.from({ length: rows + 1 }, (_, index) => [...common, ...own(index)]);
  };
  const measurement = (name: string, all: number[][], tokens: number): Measurement => {
    const total = all.reduce((sum, { length }) => sum + length, 0);
    // Engines compute at least 128 tokens of prompts in a step where they have them.
    return { name, prompts: all, tokens, limit: tokens + Math.ceil(total / 128) + 8 };
  };
  const kinds = new Set<KindName>([START, ...cases.flatMap(({ kind }) => kind ?? [])]);
  const measurements = (Object.keys(KINDS) as KindName[])
    .filter((name) => kinds.has(name))
    .flatMap((name) => {
      const kind: Kind = KINDS[name];
      const once = (): Measurement[] => {
        const all = promptsOf(kind);
        if (kind.shared === undefined) return [measurement(name, all, kind.tokens)];
        return [measurement(UNTIMED + name, all.slice(-1), 0), measurement(name, all.slice(0, -1), kind.tokens)];
      };
      const times = name === START ? 1 : kind.repeats * repeats;
      return Array.from({ length: times }, once).flat();
    });
  const context = Math.max(...measurements.map(({ prompts, limit }) => prompts[0]!.length + limit));
  return { threads, context, measurements };
}
