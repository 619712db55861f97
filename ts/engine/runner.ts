/**
 * Runs the requests of one device: plan a step, send it, and while the worker computes it, plan and send the next one.
 * Two steps are under way at a time, so Node's and the wire's time hide behind the worker's.
 */
import type { Counters } from "../../protocol/messages.ts";
import type { Scheduler } from "../schedule/scheduler.ts";
import type { Sequence, Step, StepRow } from "../schedule/sequence.ts";
import type { ProgramHandle } from "../tensor/program-handle.ts";
import { explain, type Failing } from "./diagnosis.ts";
import { onAbort } from "./on-abort.ts";
import { endedByLoss } from "./recovery.ts";
import type { Request } from "./request.ts";
import { type RequestRow, stepInputs } from "./step-inputs.ts";
import { StepOutputs } from "./step-outputs.ts";

/** Sums over all steps of a runner. */
export interface RunnerStatistics {
  steps: number;
  /** Tokens that went through the model, and rows that drew one. */
  tokens: number;
  drawn: number;
  /**
   * Elements quantised, those of them with a carry (design 4.1), and rows with NaN or infinity that were quantised or drawn
   * from: whatever op makes one, its row comes to one of these.
   */
  quantized: number;
  carries: number;
  nonfinite: number;
  /** Milliseconds inside the kernels. */
  computeMs: number;
}

export class Runner {
  readonly #scheduler: Scheduler;
  #program: ProgramHandle;
  #logitsProgram: ProgramHandle | undefined;
  /** Requests that run or wait, both ways. */
  readonly #requests = new Map<Sequence, Request>();
  readonly #entries = new Map<Request, { readonly sequence: Sequence; readonly forget: (() => void) | undefined }>();
  /** Requests whose logits are not finite; they end when no step is under way. */
  #failing: Failing[] = [];
  readonly #statistics = { steps: 0, tokens: 0, drawn: 0, quantized: 0, carries: 0, nonfinite: 0, computeMs: 0 };
  #waking = false;
  /** Without a worker; requests wait. */
  #paused = false;
  /** Settles when all steps sent so far have been handed out. */
  #handled: Promise<void> = Promise.resolve();

  constructor(scheduler: Scheduler, program: ProgramHandle) {
    this.#scheduler = scheduler;
    this.#program = program;
  }

  get statistics(): Readonly<RunnerStatistics> {
    return { ...this.#statistics };
  }

  /** Requests that run or wait. */
  get load(): number {
    return this.#requests.size;
  }

  /** The program of steps in which a request wants logits; it must be there before such a request is submitted. */
  useForLogits(program: ProgramHandle): void {
    this.#logitsProgram = program;
  }

  /** The programs' worker is gone, and with it the requests that ran: they fail with `reason`. Others wait for `resume`. */
  async pause(reason: unknown): Promise<void> {
    this.#paused = true;
    this.#logitsProgram = undefined;
    await this.#handled; // What was sent fails by itself, for reasons of its own.
    for (const [sequence, request] of [...this.#requests]) {
      if (sequence.state !== "running") continue;
      this.#remove(request);
      request.fail(endedByLoss(reason));
    }
  }

  /** These programs run what waits and what comes. */
  resume(program: ProgramHandle, logits: ProgramHandle | undefined): void {
    this.#program = program;
    this.#logitsProgram = logits;
    this.#paused = false;
    this.#pump();
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
    this.#remove(request);
    request.fail(reason);
    this.#pump(); // Its pages may be what the next one waits for.
  }

  /** Ends all requests with `reason`. */
  cancelAll(reason: unknown): void {
    for (const request of [...this.#entries.keys()]) {
      this.#remove(request);
      request.fail(reason);
    }
  }

  #remove(request: Request): void {
    const { sequence, forget } = this.#entries.get(request)!;
    this.#entries.delete(request);
    this.#requests.delete(sequence);
    this.#scheduler.end(sequence);
    forget?.();
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
      const program = this.#programFor(rows);
      const { sizes, payload } = stepInputs(program, step, rows);
      const result = program.step(sizes, payload);
      for (const { row, request } of rows) if (row.start === 0) request.started();
      const { payload: returned, counters } = await result;
      return { outputs: new StepOutputs(program, sizes, returned), counters };
    } catch (error) {
      return { error };
    }
  }

  #programFor(rows: readonly RequestRow[]): ProgramHandle {
    const wanted = rows.some(({ row, request }) => row.sample >= 0 && request.spec.logits);
    return (wanted ? this.#logitsProgram : undefined) ?? this.#program;
  }

  #receive(step: Step, rows: readonly RequestRow[], outcome: Outcome): void {
    this.#scheduler.returned(step);
    for (const { row, request } of rows) {
      // Over since the step was planned, or about to be: whatever it drew is dropped.
      if (request.over || this.#failing.some((failing) => failing.request === request)) continue;
      if ("error" in outcome) {
        this.#remove(request);
        request.fail(endedByLoss(outcome.error));
      } else if (row.sample >= 0) this.#accept(row, request, outcome.outputs);
    }
    if (!("error" in outcome)) this.#count(step, outcome.counters);
    this.#pump();
  }

  #accept(row: StepRow, request: Request, outputs: StepOutputs): void {
    try {
      const drawn = outputs.drawn(row.sample, request);
      if (drawn === undefined) {
        const { sequence, start, count } = row;
        this.#failing.push({ request, sequence, tokens: start + count });
      } else if (request.accept(drawn)) this.#remove(request);
    } catch (error) {
      this.#remove(request); // Its own decoder, for example: the others go on.
      request.fail(error);
    }
  }

  #count(step: Step, { quantized, carries, nonfinite, nanoseconds }: Counters): void {
    const sums = this.#statistics;
    sums.steps += 1;
    sums.tokens += step.tokens;
    sums.drawn += step.samples;
    sums.quantized += quantized;
    sums.carries += carries;
    sums.nonfinite += nonfinite;
    sums.computeMs += nanoseconds / 1e6;
  }
}

type Outcome = { readonly outputs: StepOutputs; readonly counters: Counters } | { readonly error: unknown };
