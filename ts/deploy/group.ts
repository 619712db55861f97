/** One program on all ranks, as if it were one: a step goes to every rank, and rank 0 answers. */
import type { Counters, Sizes } from "../../protocol/messages.ts";
import { messageOf, OctavoError } from "../errors.ts";
import type { ProgramHandle, StepOptions, StepResult } from "../tensor/program-handle.ts";

/** What steps are sent to: a rank's program, or a group of them. */
export type StepProgram = Pick<ProgramHandle, "inputs" | "outputs" | "step">;

/** What ends the wait of ranks for each other. */
export interface Breakable {
  readonly broken: AbortSignal;
  abort(reason: OctavoError): void;
}

/** What a step's data is refused with, on all ranks alike and before any effect: they stay together. */
const REFUSALS: readonly string[] = ["OCTAVO_BAD_ARGUMENT", "OCTAVO_TOKEN_OUT_OF_RANGE"];
/** How long a rank whose wait was ended may take to say so, and how often one that is late is looked at. */
const LATE_MS = 1000;

export class Group implements StepProgram {
  readonly #ranks: readonly StepProgram[];
  readonly #meeting: Breakable | undefined;

  /** Rank 0 first. The programs take the same inputs; rank 0's has the outputs. `meeting`: where they wait for each other. */
  constructor(ranks: readonly [StepProgram, ...StepProgram[]], meeting?: Breakable) {
    this.#ranks = ranks;
    this.#meeting = meeting;
  }

  get inputs(): ProgramHandle["inputs"] {
    return this.#ranks[0]!.inputs;
  }

  get outputs(): ProgramHandle["outputs"] {
    return this.#ranks[0]!.outputs;
  }

  /**
   * Sent to all ranks before this returns, so steps of two calls, and of two groups, never meet in another order on another
   * rank. The first rank that fails ends the step with its error at once. `OCTAVO_GROUP_BROKEN` is waited past: it says that
   * another rank is the reason, and that one will say why.
   */
  async step(sizes: Partial<Sizes>, payload: Uint8Array, options?: StepOptions): Promise<StepResult> {
    const late = this.#meeting && new LateRanks(this.#ranks.length, this.#meeting);
    const steps = this.#ranks.map((rank, index) =>
      rank.step(sizes, payload, late === undefined ? options : { ...options, onLate: () => late.onLate(index) }),
    );
    const results = await this.#outcome(steps, late);
    const [first, ...others] = results as [StepResult, ...StepResult[]];
    const nonfinite = firstNonfinite(results);
    return {
      ...first,
      counters: others.map(({ counters }) => counters).reduce(combined, first.counters),
      ...(nonfinite === undefined ? {} : { nonfinite }),
    };
  }

  #outcome(steps: readonly Promise<StepResult>[], late: LateRanks | undefined): Promise<StepResult[]> {
    return new Promise((resolve, reject) => {
      const results: StepResult[] = [];
      const failures: unknown[] = [];
      let answered = 0;
      const onAnswer = (rank: number) => {
        late?.answered(rank);
        answered += 1;
        if (answered < steps.length) return;
        if (failures.length === 0) resolve(results);
        else {
          // Some have done the step and some have not: they cannot do the next one together.
          if (failures.length < steps.length) this.#break(failures[0]);
          reject(failures[0]); // Nobody knew better.
        }
      };
      for (const [rank, step] of steps.entries())
        step.then(
          (result) => {
            results[rank] = result;
            onAnswer(rank);
          },
          (error: unknown) => {
            failures.push(error);
            const code = OctavoError.isInstance(error) ? error.code : "";
            if (code !== "OCTAVO_GROUP_BROKEN") reject(error);
            if (!REFUSALS.includes(code)) this.#break(error);
            onAnswer(rank);
          },
        );
    });
  }

  #break(cause: unknown): void {
    const text = `a rank has failed: ${messageOf(cause)}`;
    const reason = OctavoError.isInstance(cause) ? cause : new OctavoError("OCTAVO_GROUP_BROKEN", text, { cause });
    this.#meeting?.abort(reason);
  }
}

/**
 * A step that is late on one rank may wait for another one that has not begun: it may have others' work before it, or be slower.
 * When it is late on all that have not answered, their wait is ended. Those that say so live on; who is silent hangs.
 */
class LateRanks {
  readonly #meeting: Breakable;
  /** That have not answered; whether they are late. */
  readonly #late: Map<number, boolean>;
  readonly #warned = new Set<number>();

  constructor(ranks: number, meeting: Breakable) {
    this.#meeting = meeting;
    this.#late = new Map(Array.from({ length: ranks }, (_, rank) => [rank, false]));
  }

  answered(rank: number): void {
    this.#late.delete(rank);
  }

  /** Milliseconds that it may go on; undefined: it hangs. */
  onLate(rank: number): number | undefined {
    this.#late.set(rank, true);
    if ([...this.#late.values()].every(Boolean))
      this.#meeting.abort(new OctavoError("OCTAVO_GROUP_BROKEN", "a step did not end before its deadline on any rank"));
    if (!this.#meeting.broken.aborted) return LATE_MS;
    if (this.#warned.has(rank)) return undefined;
    this.#warned.add(rank);
    return LATE_MS;
  }
}

/** The first op's name; what came out of a gather came out of another rank's op before it. */
function firstNonfinite(results: readonly StepResult[]): string | undefined {
  const names = results.flatMap(({ nonfinite }) => nonfinite ?? []);
  return names.find((name) => !name.startsWith("gather ")) ?? names[0];
}

/** Ranks quantise and draw from the same whole rows, so that all count the same; the slowest one's time is the step's. */
function combined(a: Counters, b: Counters): Counters {
  return {
    quantized: Math.max(a.quantized, b.quantized),
    carries: Math.max(a.carries, b.carries),
    nonfinite: Math.max(a.nonfinite, b.nonfinite),
    nanoseconds: Math.max(a.nanoseconds, b.nanoseconds),
  };
}
