/** A program that a worker has made ready: only what changes travels with each step. */
import type { Counters, Sizes } from "../../protocol/messages.ts";
import { NO_SIZES } from "../../protocol/sizes.ts";
import { OctavoError } from "../errors.ts";
import { costOf } from "../program/cost.ts";
import type { LoweredProgram } from "../program/lower.ts";
import type { DeviceMemory } from "./device-memory.ts";
import { StepDeadlines } from "./step-deadlines.ts";

export interface StepResult {
  /** The outputs, each at the next multiple of 64 bytes: `unpackOutputs` gives them by name. */
  readonly payload: Uint8Array;
  readonly counters: Counters;
  /** With `StepOptions.profile`: nanoseconds of each op of the program, in order. */
  readonly profile?: readonly number[];
  /** With `StepOptions.check`: the first op whose results hold NaN or infinity, by name; absent when all are finite. */
  readonly nonfinite?: string;
}

export interface StepOptions {
  /**
   * Milliseconds the step may take once those before it are done. Default: the pool's `stepDeadlineMs`, else ten seconds and
   * more, by what the step has to compute and how fast the device has been.
   */
  readonly deadlineMs?: number | undefined;
  /** Time each op too; the step becomes a little slower. */
  readonly profile?: boolean | undefined;
  /** Look for NaN and infinity in what each op writes; the step becomes several times slower. */
  readonly check?: boolean | undefined;
  /** @internal `SendOptions.onLate`. */
  readonly onLate?: (() => number | undefined) | undefined;
}

/** Told of each step that was answered, in the order of the steps. It must not throw. */
export type StepObserver = (sizes: Sizes, payload: Uint8Array, result: StepResult) => void;

const NOTHING = new Uint8Array(0);

export class ProgramHandle {
  /** Unique for the life of the pool, among tensors and programs. */
  readonly id: number;
  readonly device: DeviceMemory;
  readonly inputs: LoweredProgram["inputs"];
  readonly outputs: LoweredProgram["outputs"];
  readonly #operations: LoweredProgram["operations"];
  readonly #deadlines: StepDeadlines;
  #observer: StepObserver | undefined;
  #disposed: Promise<void> | undefined;

  /** Made by `Device.define`. */
  constructor(device: DeviceMemory, id: number, lowered: LoweredProgram) {
    this.device = device;
    this.id = id;
    this.inputs = lowered.inputs;
    this.outputs = lowered.outputs;
    this.#operations = lowered.operations;
    this.#deadlines = new StepDeadlines(costOf(lowered.message), device.description);
  }

  get disposed(): boolean {
    return this.#disposed !== undefined;
  }

  /**
   * Runs the program once. May be called again before the last call has returned: steps run in the order of the calls.
   * Sizes that are left out are 0. `payload` (`packInputs`) must not change afterwards.
   * Rejects with `OCTAVO_STEP_TIMEOUT` (the worker is then stopped), `OCTAVO_WORKER_LOST`, `OCTAVO_TOKEN_OUT_OF_RANGE` or
   * `OCTAVO_BAD_ARGUMENT` (before any effect).
   */
  async step(sizes: Partial<Sizes>, payload: Uint8Array, options: StepOptions = {}): Promise<StepResult> {
    if (this.#disposed !== undefined)
      throw new OctavoError("OCTAVO_DISPOSED", `program ${this.id} of ${this.device.name} was disposed`);
    const wanted = {
      ...(options.profile === true ? { profile: true } : {}),
      ...(options.check === true ? { check: true } : {}),
    };
    const all = { ...NO_SIZES, ...sizes };
    const body = { kind: "step", program: this.id, sizes: all, ...wanted } as const;
    const deadlineMs = options.deadlineMs ?? this.deadlineOf(all);
    const answer = await this.device.request(body, payload, { deadlineMs, onLate: options.onLate });
    const { profile, nonfinite } = answer.reply;
    const counters = answer.reply.counters!; // `workers/answers.ts` takes no answer to a step without them.
    this.#deadlines.took(all, counters.nanoseconds / 1e6);
    const result: StepResult = {
      payload: answer.payload ?? NOTHING,
      counters,
      ...(profile === undefined ? {} : { profile }),
      ...(nonfinite === undefined ? {} : { nonfinite: this.#operations[nonfinite] ?? `op ${nonfinite}` }),
    };
    this.#observer?.(all, payload, result);
    return result;
  }

  /** @internal Milliseconds that such a step may take, unless its options say. */
  deadlineOf(sizes: Partial<Sizes>): number {
    return this.device.stepDeadlineMs ?? this.#deadlines.of({ ...NO_SIZES, ...sizes });
  }

  /** @internal One at a time: a later one takes the place of the first. */
  observe(observer: StepObserver): void {
    this.#observer = observer;
  }

  /** Steps that were asked for before still run. The tensors it worked on can be disposed afterwards. */
  dispose(): Promise<void> {
    this.#disposed ??= this.device.free([this]);
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
