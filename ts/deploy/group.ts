/** One program on all ranks, as if it were one: a step goes to every rank, and one answers: the first rank of the last stage. */
import type { Counters, Sizes } from "../../protocol/messages.ts";
import { messageOf, OctavoError } from "../errors.ts";
import type { ProgramHandle, StepOptions, StepResult } from "../tensor/program-handle.ts";

/** What steps are sent to: a rank's program, or a group of them. */
export type StepProgram = Pick<ProgramHandle, "inputs" | "outputs" | "step">;
type RankProgram = StepProgram & Pick<ProgramHandle, "deadlineOf">;

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
  readonly #ranks: readonly RankProgram[];
  readonly #meeting: Breakable | undefined;
  /** Ranks of each stage. */
  readonly #size: number;

  /**
   * Rank 0 first, in `stages` of equally many. The programs take the same inputs; that of the last stage's first rank has the outputs.
   * `meeting`: where they wait for each other.
   */
  constructor(ranks: readonly [RankProgram, ...RankProgram[]], meeting?: Breakable, stages = 1) {
    this.#ranks = ranks;
    this.#meeting = meeting;
    this.#size = ranks.length / stages;
  }

  get #answering(): number {
    return this.#ranks.length - this.#size;
  }

  get inputs(): ProgramHandle["inputs"] {
    return this.#ranks[0]!.inputs;
  }

  get outputs(): ProgramHandle["outputs"] {
    return this.#ranks[this.#answering]!.outputs;
  }

  /**
   * Sent to all ranks before this returns, so steps of two calls, and of two groups, never meet in another order on another
   * rank. The first rank that fails ends the step with its error at once. `OCTAVO_GROUP_BROKEN` is waited past: it says that
   * another rank is the reason, and that one will say why.
   */
  async step(sizes: Partial<Sizes>, payload: Uint8Array, options?: StepOptions): Promise<StepResult> {
    const late = this.#meeting && new LateRanks(this.#ranks.length, this.#meeting);
    const given = { ...options, ...this.#deadline(sizes, options) };
    const steps = this.#ranks.map((rank, index) =>
      rank.step(sizes, payload, late === undefined ? given : { ...given, onLate: () => late.onLate(index) }),
    );
    const results = await this.#outcome(steps, late);
    const nonfinite = firstNonfinite(results);
    const counters = this.#stages(results).map((stage) => stage.map(({ counters }) => counters).reduce(sideBySide));
    return {
      ...results[this.#answering]!,
      counters: counters.reduce(oneAfterTheOther),
      ...(nonfinite === undefined ? {} : { nonfinite }),
    };
  }

  #stages<T>(ofRanks: readonly T[]): readonly (readonly T[])[] {
    const stages: T[][] = [];
    for (let rank = 0; rank < ofRanks.length; rank += this.#size) stages.push(ofRanks.slice(rank, rank + this.#size));
    return stages;
  }

  /** A stage waits for those before it: none is late before all of them could be. */
  #deadline(sizes: Partial<Sizes>, options: StepOptions | undefined): Pick<StepOptions, "deadlineMs"> {
    if (this.#size === this.#ranks.length || options?.deadlineMs !== undefined) return {};
    const ofStages = this.#stages(this.#ranks).map((stage) => Math.max(...stage.map((rank) => rank.deadlineOf(sizes))));
    return { deadlineMs: ofStages.reduce((sum, milliseconds) => sum + milliseconds) };
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
            // What one stage refuses, another one may not even look at: it would wait for rows that never come.
            const isSame = REFUSALS.includes(code) && this.#size === steps.length;
            if (!isSame) this.#break(error);
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

/** The first op's name, stage by stage; what was gathered, or received, came out of another rank's op before it. */
function firstNonfinite(results: readonly StepResult[]): string | undefined {
  const names = results.flatMap(({ nonfinite }) => nonfinite ?? []);
  return names.find((name) => !/^(gather|receive) /.test(name)) ?? names[0];
}

/**
 * The ranks of a stage quantise and draw from the same whole rows, so that all count the same; the slowest one's time is the step's.
 */
function sideBySide(a: Counters, b: Counters): Counters {
  return {
    quantized: Math.max(a.quantized, b.quantized),
    carries: Math.max(a.carries, b.carries),
    nonfinite: Math.max(a.nonfinite, b.nonfinite),
    nanoseconds: Math.max(a.nanoseconds, b.nanoseconds),
  };
}

/** Stages have other layers. The time of each is also that in which it waits for the one before it. */
function oneAfterTheOther(a: Counters, b: Counters): Counters {
  return {
    quantized: a.quantized + b.quantized,
    carries: a.carries + b.carries,
    nonfinite: a.nonfinite + b.nonfinite,
    nanoseconds: Math.max(a.nanoseconds, b.nanoseconds),
  };
}
