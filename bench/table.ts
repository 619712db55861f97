/** Medians and the table, as text that is also Markdown. */
import { BATCHES } from "../ts/bench/speed.ts";

export interface PeerResult {
  name: string;
  arithmetic: string;
  /** Medians over all rounds and repeats, tokens per second. */
  prefill: number;
  decode: Record<string, number>;
  peakBytes: number;
  /** Of Octavo, by batch: weights that decoding reads from memory, 10^9 bytes per second. */
  gigabytesPerSecond?: Record<string, number>;
}

/** One line of bench/results/history.jsonl. */
export interface Results {
  /** What was measured; with a plus when files had changed since. */
  commit: string;
  date: string;
  machine: string;
  threads: number;
  rounds: number;
  repeats: number;
  peers: PeerResult[];
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

/** Tokens per second; in parentheses how many times as fast Octavo is. */
export function table(results: Results): string {
  const own = results.peers[0]!;
  const cell = (value: number, ours: number, first: boolean) =>
    first ? `**${value.toFixed(0)}**` : `${value.toFixed(0)} (${(ours / value).toFixed(1)}x)`;
  const rows = results.peers.map((peer, index) => [
    peer.name,
    peer.arithmetic,
    cell(peer.prefill, own.prefill, index === 0),
    ...BATCHES.map((batch) => cell(peer.decode[batch]!, own.decode[batch]!, index === 0)),
    `${(peer.peakBytes / 2 ** 20).toFixed(0)} MiB`,
  ]);
  const header = ["", "arithmetic", "prefill 512", ...BATCHES.map((batch) => `decode, batch ${batch}`), "peak RSS"];
  const lines = [header, header.map((_, column) => (column < 2 ? "---" : "---:")), ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const text = lines.map(
    (line) => `| ${line.map((c, i) => (i < 2 ? c.padEnd(widths[i]!) : c.padStart(widths[i]!))).join(" | ")} |`,
  );
  return [
    ...text,
    "",
    `Tokens per second, medians of ${results.rounds} rounds of ${results.repeats}; in parentheses Octavo against this peer. ` +
      `Decoding alone, Octavo reads ${own.gigabytesPerSecond![1]!.toFixed(0)} GB/s of weights. ` +
      `SmolLM2-135M-Instruct, ${results.threads} threads of ${results.machine}, ${results.date}.`,
  ].join("\n");
}
