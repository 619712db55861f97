/**
 * How long a step may take before its worker counts as hung: what it has to compute at the speed that a device reaches on
 * its worst day. Wrongly stopped work is worse than a hang that is noticed late, so steps that were slower still widen
 * what follows.
 */
import type { DeviceDescription, Sizes } from "../../protocol/messages.ts";
import { multiplyAdds, type ProgramCost } from "../program/cost.ts";

interface Pace {
  /** Multiply-adds per second, per thread where the backend has threads of its own. */
  readonly speed: number;
  /** Milliseconds on top of what the speed says: for any step, and for the first one of its sizes, which may have to compile. */
  readonly floor: number;
  readonly first: number;
}

const PACES: Readonly<Record<DeviceDescription["backend"], Pace>> = {
  cpu: { speed: 1e9, floor: 10_000, first: 10_000 },
  cuda: { speed: 1e11, floor: 60_000, first: 300_000 },
  reference: { speed: 5e6, floor: 30_000, first: 60_000 },
  "triton-interpreter": { speed: 2e4, floor: 120_000, first: 300_000 },
};
/** The CPU backend without vectors. */
const SCALAR_SPEED = 1e8;
/** How many times slower than the slowest step so far the next one may be. */
const WIDER = 4;
/** Sizes of steps that are remembered as compiled. */
const KEPT_SIZES = 4096;

/** Of the steps of one program. */
export class StepDeadlines {
  readonly #cost: ProgramCost;
  readonly #pace: Pace;
  readonly #perMs: number;
  readonly #known = new Set<string>();
  /** The slowest step so far, in units of what the pace says. */
  #slowness = 0;

  constructor(cost: ProgramCost, { backend, isa, threads }: Pick<DeviceDescription, "backend" | "isa" | "threads">) {
    this.#cost = cost;
    this.#pace = PACES[backend];
    const speed = backend === "cpu" ? (isa === "scalar" ? SCALAR_SPEED : this.#pace.speed) * threads : this.#pace.speed;
    this.#perMs = speed / 1000;
  }

  /** Milliseconds. */
  of(sizes: Sizes): number {
    const floor = this.#known.has(keyOf(sizes)) ? this.#pace.floor : this.#pace.first;
    return Math.ceil(floor + this.#expected(sizes) * Math.max(1, WIDER * this.#slowness));
  }

  /** A step of these sizes has taken so long. */
  took(sizes: Sizes, milliseconds: number): void {
    if (this.#known.size >= KEPT_SIZES) this.#known.clear();
    this.#known.add(keyOf(sizes));
    const beyond = milliseconds - this.#pace.floor;
    if (beyond > 0) this.#slowness = Math.max(this.#slowness, beyond / this.#expected(sizes));
  }

  #expected(sizes: Sizes): number {
    return Math.max(1, multiplyAdds(this.#cost, sizes) / this.#perMs);
  }
}

function keyOf({ T, S, B }: Sizes): string {
  return `${T} ${S} ${B}`;
}
