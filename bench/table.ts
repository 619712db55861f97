/** Medians and the tables, as text that is also Markdown. */
import { CASES, type Case } from "./cases.ts";

export interface PeerResult {
  readonly name: string;
  readonly arithmetic: string;
  readonly version?: string;
  /** Weights that a step reads, and their bits: the mean over linears and output layer, scales included. */
  readonly bytes: number;
  readonly bits: number;
  /** By case: medians over all rounds and repeats, in the case's unit. */
  readonly values: Readonly<Record<string, number>>;
  /** Why there are no values, or not all. */
  readonly failure?: string;
  /** Leading tokens of an answer that are Octavo's, of 16. */
  readonly agrees?: number;
}

/** One line of bench/results/history.jsonl. */
export interface Results {
  /** What was measured; with a plus when files had changed since. */
  readonly commit: string;
  readonly date: string;
  readonly machine: string;
  readonly features: readonly string[];
  readonly threads: number;
  /** Load average at the start, as `uptime` says: processes of others that want to run. */
  readonly load: number;
  readonly rounds: number;
  readonly model: string;
  /** Names of the cases that were asked for. */
  readonly cases: readonly string[];
  /** Octavo first. */
  readonly peers: readonly PeerResult[];
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

/** How many times as fast, or as small, Octavo is. */
export function ratioOf(one: Case, ours: number, theirs: number): number {
  return one.unit === "tokens/s" ? ours / theirs : theirs / ours;
}

const NOT_MEASURED = "-";
/** Less other work than this does not show. */
const QUIET = 0.3;

/** Two tables, what failed, where peers are ahead, and a caption. */
export function table(results: Results): string {
  const cases = CASES.filter(({ name }) => results.cases.includes(name));
  const of = (kind: Case["table"]) => cases.filter((one) => one.table === kind);
  const sections = [
    { title: "prompts", columns: of("prompts"), described: true },
    { title: "decode", columns: of("decode"), described: false },
  ].filter(({ columns }) => columns.length);
  const tables = sections.map(({ title, columns, described }, index) =>
    markdown(results, title, columns, described || index === 0),
  );
  const notes = [...failures(results), ...ahead(results, cases), caption(results)];
  return [...tables, ...notes].join("\n\n");
}

function markdown(results: Results, title: string, columns: readonly Case[], described: boolean): string {
  const own = results.peers[0]!;
  const about = described ? ["version", "arithmetic", "bits", "MB"] : [];
  const header = [title, ...about, ...columns.map(headerOf)];
  const rows = results.peers.map((peer, index) => [
    peer.name,
    ...(described ? aboutCells(peer) : []),
    ...columns.map((one) => cell(one, peer, index === 0 ? undefined : own)),
  ]);
  const lines = [
    header,
    header.map((_, column) => (column < 3 && described ? "---" : column ? "---:" : "---")),
    ...rows,
  ];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const left = (column: number) => lines[1]![column] === "---";
  return lines
    .map((line) => `| ${line.map((c, i) => (left(i) ? c.padEnd(widths[i]!) : c.padStart(widths[i]!))).join(" | ")} |`)
    .join("\n");
}

const headerOf = ({ title, unit }: Case): string =>
  unit === "seconds" ? `${title}, s` : unit === "MiB" ? `${title}, MiB` : title;

const aboutCells = ({ version, arithmetic, bits, bytes }: PeerResult): string[] => [
  ...[version ?? NOT_MEASURED, arithmetic, bits.toFixed(1), (bytes / 1e6).toFixed(0)],
];

/** `own` is absent in Octavo's own row. */
function cell(one: Case, peer: PeerResult, own: PeerResult | undefined): string {
  const value = peer.values[one.name];
  if (value === undefined) return peer.failure === undefined ? NOT_MEASURED : "failed";
  const text = value.toFixed(one.unit === "seconds" ? 1 : 0);
  const ours = own?.values[one.name];
  if (ours === undefined) return text;
  const ratio = ratioOf(one, ours, value);
  const times = `${ratio.toFixed(ratio < 2 ? 2 : 1)}x`;
  return `${text} (${ratio < 1 ? `**${times}**` : times})`;
}

function failures({ peers }: Results): string[] {
  return peers.flatMap(({ name, failure }) =>
    failure === undefined ? [] : `${name}: ${failure.replaceAll("|", "/")}`,
  );
}

/** Every column in which a peer is ahead, in words. */
function ahead({ peers }: Results, cases: readonly Case[]): string[] {
  const [own, ...others] = peers;
  const lines = cases.flatMap((one) => {
    const ours = own!.values[one.name];
    if (ours === undefined) return [];
    const leaders = others.flatMap((peer) => {
      const theirs = peer.values[one.name];
      const ratio = theirs === undefined ? 1 : ratioOf(one, ours, theirs);
      return ratio < 1 ? [{ text: `${peer.name} ${(1 / ratio).toFixed(2)}x`, ratio }] : [];
    });
    leaders.sort((a, b) => a.ratio - b.ratio);
    return leaders.length ? `- ${columnName(one)}: ${leaders.map(({ text }) => text).join(", ")}` : [];
  });
  if (!others.some(({ values }) => Object.keys(values).length)) return [];
  return lines.length ? [`Ahead of Octavo:\n\n${lines.join("\n")}`] : ["No peer is ahead of Octavo in any column."];
}

const columnName = ({ table: kind, title }: Case): string => (kind === "decode" ? `decode, ${title}` : title);

function caption(results: Results): string {
  const { model, threads, rounds, date, commit, load } = results;
  const differ = results.peers.filter(({ agrees }) => agrees === 0).map(({ name }) => name);
  return [
    `${model}, ${threads} threads of ${results.machine} (${results.features.join(", ") || "features unknown"}), ${date}, ` +
      `Octavo at ${commit}. Tokens per second where nothing else is said, medians of ${rounds} round${rounds === 1 ? "" : "s"}; ` +
      "one process at a time, the same token ids, greedy. In parentheses how many times as fast, or as small, Octavo is; **bold**: the peer is ahead. " +
      "MB: weights that a step reads, bits: of each of them, scales included. Peak RSS is of all measured cases together.",
    ...(load > QUIET ? [`The machine was not quiet: load average ${load.toFixed(1)} at the start.`] : []),
    ...(differ.length ? [`Another answer from its first token on: ${differ.join(", ")}.`] : []),
  ].join(" ");
}
