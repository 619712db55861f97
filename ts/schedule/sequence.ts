/** What the scheduler knows of one request: lengths, pages, and how far it has come. Token ids are not its business. */
import type { SequencePages } from "../memory/kv/sequence-pages.ts";

export type SequenceState = "waiting" | "running" | "ended";

/**
 * A request as two numbers: `computed` tokens went through the model (or are in a planned step), `wanted` tokens exist
 * (the prompt, and every token drawn or being drawn). Prefill, chunks of it and decode are all "computed < wanted".
 */
export class Sequence {
  readonly id: number;
  /** Tokens of the prompt. */
  readonly prompt: number;
  /** Tokens of the prompt plus the most that may be drawn. */
  readonly limit: number;
  state: SequenceState = "waiting";
  computed = 0;
  wanted: number;
  /** Its steps have no other rows, so that a worker that is lost meanwhile is lost by it. */
  alone = false;
  /** From admission until no step may touch them. They hold the positions that have been computed or are in a planned step. */
  pages: SequencePages | undefined;
  /** Number of the last step that has rows of it; 0 before the first. */
  lastStep = 0;
  /** Row of `sampled` that holds its newest token, while the step that draws it has not returned; else -1. */
  pendingRow = -1;

  constructor(id: number, prompt: number, maxTokens: number) {
    this.id = id;
    this.prompt = prompt;
    this.limit = prompt + maxTokens;
    this.wanted = prompt;
  }

  /** Tokens to run through the model next. The last token of `limit` is drawn but never run. */
  get due(): number {
    return this.wanted < this.limit ? this.wanted - this.computed : 0;
  }

  /** Whether it runs one token after the other: all but the newest are computed. What has lost its pages is a prompt again. */
  get decodes(): boolean {
    return this.wanted > this.prompt && this.wanted - this.computed <= 1;
  }
}

/** `count` tokens of a sequence in a step, at positions `start ... start + count - 1`. */
export interface StepRow {
  readonly sequence: Sequence;
  readonly start: number;
  readonly count: number;
  /** Row of this step's `sampled` that takes the token drawn after the last position; -1 when a prompt goes on. */
  readonly sample: number;
  /** Row of the previous step's `sampled` that is the input token at `start`; -1 when its id is known by now. */
  readonly previous: number;
}

/** What one step runs. Steps are numbered from 1. */
export interface Step {
  readonly number: number;
  readonly rows: readonly StepRow[];
  /** Tokens (T) and drawn rows (S). */
  readonly tokens: number;
  readonly samples: number;
}
