/** What the outcomes of all rounds come to: a median per case. Pure. */
import type { Case, Timing } from "./cases.ts";
import { START } from "./cases.ts";
import type { Outcome } from "./measure.ts";
import type { Peer } from "./peers.ts";
import { median, type PeerResult } from "./table.ts";
import { bytesOf, type Weights } from "./weights.ts";

export interface Measured {
  readonly peer: Peer;
  /** One per round. */
  readonly outcomes: readonly Outcome[];
}

export function summarise(rows: readonly Measured[], cases: readonly Case[], weights: Weights): PeerResult[] {
  const own = rows[0] && answerOf(rows[0].outcomes);
  return rows.map(({ peer, outcomes }) => {
    const version = outcomes.find((one) => one.version)?.version;
    const failure = outcomes.find((one) => one.failure)?.failure;
    const bytes = bytesOf(peer, weights);
    const agrees = own && leading(own, answerOf(outcomes));
    return {
      ...{ name: peer.name, arithmetic: peer.arithmetic },
      ...(version !== undefined && { version }),
      ...{ bytes, bits: (8 * bytes) / (weights.linears + weights.head) },
      values: Object.fromEntries(
        cases.flatMap((one) => {
          const values = outcomes.flatMap((outcome) => valuesOf(one, outcome));
          return values.length ? [[one.name, median(values)]] : [];
        }),
      ),
      ...(failure !== undefined && { failure }),
      ...(agrees !== undefined && { agrees }),
    };
  });
}

function valuesOf(one: Case, { timings, startSeconds, peakBytes }: Outcome): number[] {
  if (one.kind === undefined) return peakBytes === undefined ? [] : [peakBytes / 2 ** 20];
  if (one.kind === START) return startSeconds === undefined ? [] : [startSeconds];
  return timings.filter(({ name }) => name === one.kind).map(one.value!);
}

/** Of the longest measurement that all peers make. */
const COMPARED = "batch 1";

function answerOf(outcomes: readonly Outcome[]): readonly number[] | undefined {
  return outcomes[0]?.timings.find(({ name }: Timing) => name === COMPARED)?.answer;
}

/** How many ids at the beginning are the same. */
function leading(own: readonly number[], theirs: readonly number[] | undefined): number | undefined {
  if (theirs === undefined) return undefined;
  const different = own.findIndex((id, index) => id !== theirs[index]);
  return different < 0 ? own.length : different;
}
