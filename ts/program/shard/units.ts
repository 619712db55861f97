/** How much each rank gets: whole units by shares. Pure. */
import { badArgument } from "../../errors.ts";
import type { Range } from "../program.ts";

/** What ranks have of an axis, in order: `ranges` of `pieces`. They cover it; kv heads that ranks share are in several ranges. */
export interface Cut {
  readonly pieces: number;
  readonly ranges: readonly Range[];
}

/** Throws `OCTAVO_BAD_ARGUMENT` unless each rank has a share, a positive number. */
export function checkShares(shares: readonly number[]): void {
  const good = shares.every((share) => Number.isFinite(share) && share > 0);
  if (shares.length > 0 && good) return;
  throw badArgument(`shares are [${shares.join(", ")}]; they take a positive number for each rank`);
}

/** `units` by shares: the largest remainders are rounded up, and each rank has one at least. There are enough of them. */
export function apportion(units: number, shares: readonly number[]): number[] {
  const sum = shares.reduce((total, share) => total + share, 0);
  const wanted = shares.map((share) => (units * share) / sum);
  const counts = wanted.map((want) => Math.max(1, Math.floor(want)));
  let left = units - counts.reduce((total, count) => total + count, 0);
  for (; left > 0; left--) counts[best(counts, (count, rank) => wanted[rank]! - count)]!++;
  for (; left < 0; left++) counts[best(counts, (count, rank) => (count > 1 ? count - wanted[rank]! : -Infinity))]!--;
  return counts;
}

/** The first index where `score` is largest. */
function best(counts: readonly number[], score: (count: number, rank: number) => number): number {
  const scores = counts.map(score);
  return scores.indexOf(Math.max(...scores));
}

/** Ranges of these lengths, one behind the other. */
export function consecutive(lengths: readonly number[], from = 0): Range[] {
  let end = from;
  return lengths.map((length): Range => {
    end += length;
    return [end - length, end];
  });
}

/** Columns in blocks of `grain`, the last of which may be smaller; single ones where that makes too few; undefined where these are too few. */
export function cutColumns(pieces: number, grain: number, shares: readonly number[]): Cut | undefined {
  const unit = Math.ceil(pieces / grain) >= shares.length ? grain : 1;
  const units = Math.ceil(pieces / unit);
  if (units < shares.length) return undefined;
  const ranges = consecutive(apportion(units, shares));
  return { pieces, ranges: ranges.map(([from, to]): Range => [from * unit, Math.min(to * unit, pieces)]) };
}

/**
 * Heads, and the kv heads that they need. Up to as many ranks as kv heads have whole groups: a kv head with all of its heads. More ranks
 * than that share groups: each has heads of one kv head, which all ranks of the group have.
 */
export function cutHeads(heads: number, kvHeads: number, shares: readonly number[], where: string): [Cut, Cut] {
  const group = heads / kvHeads;
  const ranks = shares.length;
  if (ranks > heads) {
    const kv = `${kvHeads} kv head${kvHeads === 1 ? "" : "s"} of ${group} head${group === 1 ? "" : "s"} each`;
    throw badArgument(`${ranks} ranks, but the model has ${kv}: at most ${heads} (${where})`);
  }
  if (ranks <= kvHeads) {
    const ranges = consecutive(apportion(kvHeads, shares));
    const ofHeads = ranges.map(([from, to]): Range => [from * group, to * group]);
    return [
      { pieces: heads, ranges: ofHeads },
      { pieces: kvHeads, ranges },
    ];
  }
  const runs = groupRanks(kvHeads, group, shares);
  const first = consecutive(runs);
  const ofHeads = first.flatMap(([from, to], kv) => consecutive(apportion(group, shares.slice(from, to)), kv * group));
  const ofKv = runs.flatMap((run, kv) => Array.from({ length: run }, (): Range => [kv, kv + 1]));
  return [
    { pieces: heads, ranges: ofHeads },
    { pieces: kvHeads, ranges: ofKv },
  ];
}

/** How many consecutive ranks share each group, so that the rank with most heads for its share has as few as can be. */
function groupRanks(groups: number, size: number, shares: readonly number[]): number[] {
  interface Found {
    readonly worst: number;
    readonly runs: readonly number[];
  }
  const known = new Map<string, Found>();
  /** The best for the groups from `group` on, with the ranks from `rank` on. */
  const from = (rank: number, group: number): Found => {
    if (group === groups) return { worst: rank === shares.length ? 0 : Infinity, runs: [] };
    const key = `${rank} ${group}`;
    let found = known.get(key);
    if (found !== undefined) return found;
    found = { worst: Infinity, runs: [] };
    for (let run = 1; run <= Math.min(size, shares.length - rank); run++) {
      const mine = shares.slice(rank, rank + run);
      const load = Math.max(...apportion(size, mine).map((count, index) => count / mine[index]!));
      const others = from(rank + run, group + 1);
      const worst = Math.max(load, others.worst);
      if (worst < found.worst) found = { worst, runs: [run, ...others.runs] };
    }
    known.set(key, found);
    return found;
  };
  return [...from(0, 0).runs];
}

/** What a rank has of `size` elements that lie along the axis; whole numbers, or the axis was not cut so. */
export function rangeOf({ pieces, ranges }: Cut, rank: number, size: number): Range {
  const [from, to] = ranges[rank]!;
  return [(from * size) / pieces, (to * size) / pieces];
}
