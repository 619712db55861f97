/** One program on all ranks, as if it were one: a step goes to every rank, and rank 0 answers. */
import type { Counters, Sizes } from "../../protocol/messages.ts";
import type { ProgramHandle, StepOptions, StepResult } from "../tensor/program-handle.ts";

/** What steps are sent to: a rank's program, or a group of them. */
export type StepProgram = Pick<ProgramHandle, "inputs" | "outputs" | "step">;

export class Group implements StepProgram {
  readonly #ranks: readonly [StepProgram, ...StepProgram[]];

  /** Rank 0 first. The programs take the same inputs; rank 0's has the outputs. */
  constructor(first: StepProgram, ...others: readonly StepProgram[]) {
    this.#ranks = [first, ...others];
  }

  get inputs(): ProgramHandle["inputs"] {
    return this.#ranks[0].inputs;
  }

  get outputs(): ProgramHandle["outputs"] {
    return this.#ranks[0].outputs;
  }

  /**
   * Sent to all ranks before this returns, each with its own deadline, so steps of two calls never meet in another order on
   * another rank. The first rank that fails ends the step with its error at once: the others may be waiting for it for ever.
   */
  async step(sizes: Partial<Sizes>, payload: Uint8Array, options?: StepOptions): Promise<StepResult> {
    const results = await Promise.all(this.#ranks.map((rank) => rank.step(sizes, payload, options)));
    const [first, ...others] = results as [StepResult, ...StepResult[]];
    const nonfinite = results.find((result) => result.nonfinite !== undefined)?.nonfinite;
    return {
      ...first,
      counters: others.map(({ counters }) => counters).reduce(combined, first.counters),
      ...(nonfinite === undefined ? {} : { nonfinite }),
    };
  }
}

/** Ranks work side by side on the same rows: their elements add up; the time and the rows that were not finite do not. */
function combined(a: Counters, b: Counters): Counters {
  return {
    quantized: a.quantized + b.quantized,
    carries: a.carries + b.carries,
    nonfinite: Math.max(a.nonfinite, b.nonfinite),
    nanoseconds: Math.max(a.nanoseconds, b.nanoseconds),
  };
}
