/**
 * What runs next: requests in, steps out. Pure: no I/O, no clock, no token ids.
 *
 * Each step hands out a budget of tokens: first one row to every sequence that decodes, then prompt chunks of running
 * sequences in the order of admission, then waiting ones are admitted in the order of arrival. The first waiting one
 * that does not fit stops admission (nobody overtakes, so nobody starves). Admission reserves all pages a sequence can ever
 * need: nobody is pre-empted for want of memory.
 *
 * When the memory itself is gone with a worker, whoever ran waits again (`requeue`), before all others: its prompt and the tokens
 * it has drawn are then computed as one prompt. One that may be why the worker is gone runs alone until it is trusted.
 *
 * A step may be planned while the one before it runs. Its decode rows then take their token from a row of the previous
 * step's `sampled` (`StepRow.previous`). Whoever plans keeps at most two steps unreturned, so a token that is not
 * known yet is always of the step just before.
 *
 * Where a model runs in stages, the first one has no `sampled`: what has drawn a token waits until that has returned. Steps are
 * therefore small, so that each stage has one: of those that decode each takes one of as many parts as there are stages, those
 * first that have waited longest. Chunks of a prompt wait for nothing.
 *
 * A sequence that ends (stop token, abort) may have a row in the step after:
 * its result is dropped, and its pages come back only when that step has returned.
 */
import { KvRoom } from "../memory/kv/room.ts";
import { Line } from "./line.ts";
import { Sequence, type Step, type StepRow } from "./sequence.ts";

export interface SchedulerLimits {
  /** Pages of the KV cache. */
  readonly pages: number;
  /** Sequences that run at the same time; also the most rows drawn in a step. */
  readonly sequences: number;
  /** Tokens of a step. Below `sequences`, fewer sequences run: nobody is admitted while decode rows take all of it. */
  readonly tokenBudget: number;
  /** Of the model. Default 1. */
  readonly stages?: number | undefined;
}

/** A sequence that ran when what its pages held was lost. */
export interface Requeued {
  readonly sequence: Sequence;
  /** Tokens that it has drawn. */
  readonly drawn: number;
  /** Whether its steps are to have no other rows. */
  readonly alone: boolean;
}

/** Steps that may be planned and not returned: one that the worker computes, or each stage, and one that waits there. */
export function stepsInFlight(stages: number): number {
  return stages + 1;
}

export class Scheduler {
  readonly limits: SchedulerLimits;
  readonly #kv: KvRoom;
  readonly #waiting = new Line<Sequence>();
  /** In the order of admission. */
  readonly #running = new Set<Sequence>();
  /** Ended, with pages that a planned step may still touch. */
  #leaving: Sequence[] = [];
  readonly #planned: Step[] = [];
  readonly #stages: number;
  #steps = 0;
  #nextId = 1;

  constructor(limits: SchedulerLimits) {
    this.limits = limits;
    this.#kv = new KvRoom(limits.pages);
    this.#stages = limits.stages ?? 1;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Pages that nobody holds and nobody was promised. */
  get freePages(): number {
    return this.#kv.available;
  }

  /** Steps planned and not returned. */
  get inFlight(): number {
    return this.#planned.length;
  }

  /** Whether a request of this size can ever run. */
  fits(prompt: number, maxTokens: number): boolean {
    return this.#kv.fits(prompt + maxTokens - 1);
  }

  /** Those that run, in the order of admission. */
  get admitted(): readonly Sequence[] {
    return [...this.#running];
  }

  /** Queue a request of `prompt` tokens (from 1 on) that draws at most `maxTokens` (from 1 on); `fits` must hold. */
  submit(prompt: number, maxTokens: number): Sequence {
    if (prompt < 1 || maxTokens < 1 || !this.fits(prompt, maxTokens))
      throw new RangeError(`a sequence of ${prompt} + ${maxTokens} tokens on ${this.limits.pages} pages`);
    const sequence = new Sequence(this.#nextId, prompt, maxTokens);
    this.#nextId += 1;
    this.#waiting.join(sequence);
    return sequence;
  }

  /** The next step, or undefined when there is nothing to run or `stepsInFlight` have not returned. */
  plan(): Step | undefined {
    if (this.#planned.length >= stepsInFlight(this.#stages)) return undefined;
    const rows: StepRow[] = [];
    const left = { tokens: this.limits.tokenBudget, samples: 0 };
    const number = this.#steps + 1;
    const take = (sequence: Sequence, count: number) => rows.push(this.#take(sequence, count, left, number));
    const alone = this.#alone();
    if (alone !== undefined) {
      if (this.#isDue(alone)) take(alone, Math.min(left.tokens, alone.due));
      return this.#planAs(number, rows, left);
    }
    // One row each. They never exceed the budget: a sequence begins to decode with a token that was left over.
    for (const sequence of this.#decoding()) take(sequence, 1);
    for (const sequence of this.#running)
      if (left.tokens > 0 && !sequence.decodes) take(sequence, Math.min(left.tokens, sequence.due));
    while (left.tokens > 0 && this.#running.size < this.limits.sequences && this.#waiting.first?.alone !== true) {
      const sequence = this.#admit();
      if (sequence === undefined) break;
      take(sequence, Math.min(left.tokens, sequence.due));
    }
    return this.#planAs(number, rows, left);
  }

  /** The oldest planned step has returned: its tokens are known, and pages only it could touch are free. */
  returned(step: Step): void {
    if (this.#planned[0] !== step) throw new RangeError(`step ${step.number} returned out of turn`);
    this.#planned.shift();
    for (const { sequence, sample } of step.rows) {
      if (sample >= 0 && sequence.lastStep === step.number) sequence.pendingRow = -1;
    }
    if (this.#leaving.length === 0) return;
    this.#leaving = this.#leaving.filter((sequence) => {
      if (sequence.lastStep > step.number) return true;
      this.#release(sequence);
      return false;
    });
  }

  /**
   * What the pages held is lost. These sequences, of those that run, wait again in this order and before all others; no step may
   * be planned. `drawn`: the tokens that are known, of which each will be computed again. `alone`: until `trust`.
   */
  requeue(sequences: readonly Requeued[]): void {
    if (this.inFlight > 0) throw new RangeError(`${this.inFlight} steps have not returned`);
    for (const { sequence, drawn, alone } of sequences.toReversed()) {
      if (!this.#running.delete(sequence)) throw new RangeError(`sequence ${sequence.id} does not run`);
      this.#release(sequence);
      sequence.state = "waiting";
      sequence.computed = 0;
      sequence.wanted = sequence.prompt + drawn;
      sequence.pendingRow = -1;
      sequence.alone = alone;
      this.#waiting.joinFirst(sequence);
    }
  }

  /** It may have steps with others again. */
  trust(sequence: Sequence): void {
    sequence.alone = false;
  }

  /** The sequence is over (finished or aborted): no later step has rows of it. Ending twice does nothing. */
  end(sequence: Sequence): void {
    if (sequence.state === "ended") return;
    this.#waiting.leave(sequence);
    this.#running.delete(sequence);
    sequence.state = "ended";
    const oldest = this.#planned[0];
    if (oldest !== undefined && sequence.lastStep >= oldest.number) this.#leaving.push(sequence);
    else this.#release(sequence);
  }

  /** What is wrong with the pages' books, by name; empty when nothing is. */
  audit(): string[] {
    const holders = [...this.#running, ...(this.inFlight > 0 ? this.#leaving : [])];
    return this.#kv.audit(holders.flatMap(({ pages }) => pages ?? []));
  }

  /** The one that steps belong to alone, if there is one; the first in line, if it is one and there is room for it. */
  #alone(): Sequence | undefined {
    let decoding = 0;
    for (const sequence of this.#running) {
      if (sequence.alone) return sequence;
      if (sequence.decodes) decoding += 1;
    }
    if (this.#waiting.first?.alone !== true || this.#running.size >= this.limits.sequences) return undefined;
    // Those that decode keep a token each: with this one they may not be more than a step has.
    return decoding < this.limits.tokenBudget ? this.#admit() : undefined;
  }

  /** Those that decode in the next step. */
  #decoding(): readonly Sequence[] {
    const decoding = [...this.#running].filter(({ decodes, due }) => decodes && due > 0);
    if (this.#stages === 1) return decoding;
    const due = decoding.filter((sequence) => this.#isDue(sequence)).sort((a, b) => a.lastStep - b.lastStep);
    return due.slice(0, Math.ceil(decoding.length / this.#stages));
  }

  /** Whether it has a token to compute whose id the first stage can know. */
  #isDue({ due, pendingRow }: Sequence): boolean {
    return due > 0 && (this.#stages === 1 || pendingRow < 0);
  }

  #planAs(number: number, rows: readonly StepRow[], left: { tokens: number; samples: number }): Step | undefined {
    if (rows.length === 0) return undefined;
    this.#steps = number;
    const step = { number, rows, tokens: this.limits.tokenBudget - left.tokens, samples: left.samples };
    this.#planned.push(step);
    return step;
  }

  #release(sequence: Sequence): void {
    if (sequence.pages !== undefined) this.#kv.release(sequence.pages);
    sequence.pages = undefined;
  }

  /** The one that has waited longest, now running; undefined when there is none or no room for it. */
  #admit(): Sequence | undefined {
    const sequence = this.#waiting.first;
    const pages = sequence && this.#kv.reserve(sequence.limit - 1);
    if (sequence === undefined || pages === undefined) return undefined;
    this.#waiting.leave(sequence);
    sequence.pages = pages;
    sequence.state = "running";
    this.#running.add(sequence);
    return sequence;
  }

  /** Move a sequence on by `count` tokens. The last one draws when nothing is left to compute. */
  #take(sequence: Sequence, count: number, left: { tokens: number; samples: number }, number: number): StepRow {
    const start = sequence.computed;
    const previous = sequence.pendingRow;
    // Where a policy admits more than there is room for, this is where somebody is pre-empted.
    if (!this.#kv.grow(sequence.pages!, start + count))
      throw new RangeError(`sequence ${sequence.id} has reserved too few pages for ${start + count} tokens`);
    sequence.computed += count;
    sequence.lastStep = number;
    left.tokens -= count;
    if (sequence.computed < sequence.wanted) return { sequence, start, count, sample: -1, previous };
    const sample = left.samples;
    left.samples += 1;
    sequence.wanted += 1;
    sequence.pendingRow = sample;
    return { sequence, start, count, sample, previous };
  }
}
