/**
 * Runs the requests of one device: plan a step, send it, and while the worker computes it, plan and send the next one.
 * Two steps are under way at a time, and one more for each further stage, so Node's and the wire's time hide behind the worker's.
 *
 * A lost worker is a pause: what a request needs to go on (its prompt, the tokens drawn, how they are drawn) is here, and the same
 * numbers come out however its tokens are cut into steps.
 */
import type { Counters, Sizes } from "../../protocol/messages.ts";
import type { StepProgram } from "../deploy/group.ts";
import { endedByLoss, isLoss, type RecoveryEvents } from "../deploy/recovery.ts";
import type { OctavoError } from "../errors.ts";
import type { Scheduler } from "../schedule/scheduler.ts";
import type { Sequence, Step, StepRow } from "../schedule/sequence.ts";
import { explain, type Failing } from "./diagnosis.ts";
import { onAbort } from "./on-abort.ts";
import type { Request } from "./request.ts";
import { type EngineStatistics, StatisticsRecord, type StepReport } from "./statistics.ts";
import { type RequestRow, stepInputs } from "./step-inputs.ts";
import { StepOutputs } from "./step-outputs.ts";
import { Suspects } from "./suspects.ts";

export interface RunnerOptions {
  /** After each step; it must not throw. */
  readonly onStep?: ((report: StepReport) => void) | undefined;
  /** A step was lost, although no worker is known to be: ranks have lost each other. Nothing runs before `onBack`. */
  readonly onBroken: (reason: OctavoError) => void;
}

export class Runner implements RecoveryEvents {
  readonly #scheduler: Scheduler;
  #program: StepProgram;
  #logitsProgram: StepProgram | undefined;
  /** Requests that run or wait, both ways. */
  readonly #requests = new Map<Sequence, Request>();
  readonly #entries = new Map<Request, { readonly sequence: Sequence; readonly forget: (() => void) | undefined }>();
  /** Requests whose logits are not finite; they end when no step is under way. */
  #failing: Failing[] = [];
  readonly #statistics = new StatisticsRecord();
  readonly #options: RunnerOptions;
  readonly #suspects = new Suspects<Request>();
  /** The oldest step that was lost, until its requests wait for another worker. */
  #lost: LostStep | undefined;
  #waking = false;
  /** Without a worker; requests wait. */
  #paused = false;
  /** Settles when all steps sent so far have been handed out. */
  #handled: Promise<void> = Promise.resolve();

  constructor(scheduler: Scheduler, program: StepProgram, options: RunnerOptions) {
    this.#scheduler = scheduler;
    this.#program = program;
    this.#options = options;
  }

  get statistics(): EngineStatistics {
    return this.#statistics.get();
  }

  served(): number {
    return this.#statistics.steps;
  }

  /** What is wrong with the books of the KV cache, by name; empty when nothing is. */
  audit(): string[] {
    return this.#scheduler.audit();
  }

  /** Whether requests run or wait. */
  isWanted(): boolean {
    return this.#requests.size > 0;
  }

  /** The program of steps in which a request wants logits; it must be there before such a request is submitted. */
  useForLogits(program: StepProgram): void {
    this.#logitsProgram = program;
  }

  /**
   * The programs' worker is gone. Once all that it has answered is handed out, requests that ran wait before all others, to go on
   * after `onBack`; one that workers are lost with again and again ends.
   */
  async onLost(reason: unknown): Promise<void> {
    this.#paused = true;
    this.#logitsProgram = undefined;
    await this.#handled; // What was sent has failed, or will: the worker's end rejects it.
    this.#failing = []; // They draw from the same logits again.
    const guilty = this.#guilty(reason);
    if (guilty !== undefined) this.#fail(guilty.request, endedByLoss(guilty.error));
    const ran = this.#scheduler.admitted.map((sequence) => this.#requests.get(sequence)!);
    const requeued = this.#suspects.inOrder(ran).map((request) => ({
      sequence: this.#entries.get(request)!.sequence,
      drawn: request.ids.length,
      alone: this.#suspects.runsAlone(request),
    }));
    this.#scheduler.requeue(requeued);
    this.#statistics.resumed(requeued.length);
  }

  #guilty(reason: unknown): { readonly request: Request; readonly error: unknown } | undefined {
    const lost = this.#lost;
    this.#lost = undefined;
    // What the worker was computing is told of by an error of its own; what waited behind it is told of the worker.
    if (lost === undefined || (lost.error === reason && lost.error.code === "OCTAVO_WORKER_LOST")) return undefined;
    const request = this.#suspects.lost(lost.requests);
    return request === undefined || request.over ? undefined : { request, error: lost.error };
  }

  /** These programs run what waits and what comes. */
  onBack({ program, logits }: Parameters<RecoveryEvents["onBack"]>[0]): void {
    this.#program = program;
    this.#logitsProgram = logits;
    this.#statistics.restarted();
    this.#paused = false;
    this.#pump();
  }

  onFailed(reason: unknown): void {
    this.cancelAll(endedByLoss(reason));
  }

  /** Queues a request. Its step is sent after the current turn of the event loop, so those made together run together. */
  submit(request: Request): void {
    const { prompt, maxTokens, signal } = request.spec;
    if (signal?.aborted) {
      request.fail(signal.reason);
      return;
    }
    const sequence = this.#scheduler.submit(prompt.length, maxTokens);
    const forget = signal && onAbort(signal, () => this.cancel(request, signal.reason));
    this.#requests.set(sequence, request);
    this.#entries.set(request, { sequence, forget });
    if (this.#waking) return;
    this.#waking = true;
    queueMicrotask(() => {
      this.#waking = false;
      this.#pump();
    });
  }

  /** Ends a request with `reason`: no later step has a row of it. Does nothing when it is over. */
  cancel(request: Request, reason: unknown): void {
    if (!this.#entries.has(request)) return;
    this.#fail(request, reason);
    this.#pump(); // Its pages may be what the next one waits for.
  }

  /** Ends all requests with `reason`. */
  cancelAll(reason: unknown): void {
    for (const request of [...this.#entries.keys()]) this.#fail(request, reason);
  }

  #remove(request: Request): void {
    const { sequence, forget } = this.#entries.get(request)!;
    this.#entries.delete(request);
    this.#requests.delete(sequence);
    this.#scheduler.end(sequence);
    if (request.ranMs !== undefined) this.#statistics.runMs.record(request.ranMs);
    forget?.();
  }

  #fail(request: Request, reason: unknown): void {
    this.#remove(request);
    request.fail(reason);
  }

  /** Planning waits for the steps under way: what `explain` sends may not come between two that belong together. */
  #explainAll(): void {
    for (const failing of this.#failing) {
      const { request } = failing;
      if (!this.#entries.has(request)) continue; // Cancelled meanwhile.
      const explained = explain(this.#program, failing, this.#scheduler.limits.tokenBudget);
      this.#scheduler.end(failing.sequence); // Its pages are free: later steps run after these.
      void explained.then((error) => this.cancel(request, error));
    }
    this.#failing = [];
  }

  #pump(): void {
    if (this.#paused) return;
    if (this.#failing.length > 0) {
      if (this.#scheduler.inFlight > 0) return;
      this.#explainAll();
    }
    for (let step = this.#scheduler.plan(); step !== undefined; step = this.#scheduler.plan()) {
      const rows = step.rows.map((row): RequestRow => ({ row, request: this.#requests.get(row.sequence)! }));
      const planned = step;
      const outcome = this.#send(planned, rows);
      // Steps are handed out in their order, even if one fails before it was sent.
      this.#handled = this.#handled
        .then(async () => this.#receive(planned, rows, await outcome))
        .catch((error) => this.cancelAll(error)); // A bug; better told to who waits than to nobody.
    }
  }

  async #send(step: Step, rows: readonly RequestRow[]): Promise<Outcome> {
    try {
      const logits = rows.some(({ row, request }) => row.sample >= 0 && request.spec.logits);
      const program = logits ? this.#logitsProgram : this.#program;
      if (program === undefined) throw new TypeError("a request for logits runs before their program is there");
      const { sizes, payload } = stepInputs(program, step, rows);
      const result = program.step(sizes, payload);
      for (const { request } of rows)
        if (request.ranMs === undefined) this.#statistics.queueMs.record(request.started());
      const { payload: returned, counters } = await result;
      return { outputs: new StepOutputs(program, sizes, returned), counters, sizes };
    } catch (error) {
      return { error };
    }
  }

  #receive(step: Step, rows: readonly RequestRow[], outcome: Outcome): void {
    this.#scheduler.returned(step);
    // What comes after a lost step is of a worker, or of ranks, that have nothing of it.
    if (this.#lost !== undefined) return;
    if ("error" in outcome && isLoss(outcome.error)) {
      this.#lose(rows, outcome.error);
      return;
    }
    for (const { row, request } of rows) {
      // Over since the step was planned, or about to be: whatever it drew is dropped.
      if (request.over || this.#failing.some((failing) => failing.request === request)) continue;
      if ("error" in outcome) this.#fail(request, outcome.error);
      else if (row.sample >= 0) this.#accept(row, request, outcome.outputs);
    }
    if (!("error" in outcome)) this.#statistics.step(step, outcome.counters);
    this.#pump();
    if (!("error" in outcome)) this.#report(step, outcome);
  }

  #lose(rows: readonly RequestRow[], error: OctavoError): void {
    this.#lost = { requests: rows.map(({ request }) => request), error };
    if (this.#paused) return; // By `onLost`, which waits for this.
    this.#paused = true;
    this.#options.onBroken(error);
  }

  #report({ number, rows, tokens, samples }: Step, { counters, sizes }: Computed): void {
    const { waiting, running, freePages } = this.#scheduler;
    const done = { number, rows: rows.length, tokens, drawn: samples, sizes, computeMs: counters.nanoseconds / 1e6 };
    this.#options.onStep?.({ ...done, waiting, running, freePages });
  }

  #accept(row: StepRow, request: Request, outputs: StepOutputs): void {
    this.#suspects.clear(request);
    this.#scheduler.trust(row.sequence);
    try {
      const drawn = outputs.drawn(row.sample, request);
      if (drawn === undefined) {
        const { sequence, start, count } = row;
        this.#failing.push({ request, sequence, tokens: start + count });
      } else if (request.accept(drawn)) this.#remove(request);
    } catch (error) {
      this.#fail(request, error); // Its own decoder, for example: the others go on.
    }
  }
}

interface LostStep {
  /** Of its rows. */
  readonly requests: readonly Request[];
  readonly error: OctavoError;
}

interface Computed {
  readonly outputs: StepOutputs;
  readonly counters: Counters;
  readonly sizes: Sizes;
}

type Outcome = Computed | { readonly error: unknown };
