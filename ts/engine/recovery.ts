/**
 * Keeps a loaded model on a living worker. When the worker is lost, another one is started in its place and the model is
 * loaded there as the first time: same plan, same programs. What waits meanwhile runs then. Nothing of the lost worker's
 * state comes back: requests that ran are over.
 */
import { setTimeout } from "node:timers/promises";
import { OctavoError } from "../errors.ts";
import type { Device } from "../tensor/device.ts";
import type { ProgramHandle } from "../tensor/program-handle.ts";
import type { LoadedModel, Residence } from "./loader.ts";

export interface RecoveryEvents {
  /** The worker is gone; nothing can run. Resolves when requests that ran have ended. */
  onLost(reason: OctavoError): Promise<void>;
  /** A new worker has the model. */
  onBack(programs: { readonly program: ProgramHandle; readonly logits: ProgramHandle | undefined }): void;
  /** No worker could be started, or the model not be loaded there. The next `wake` tries again. */
  onFailed(reason: unknown): void;
  /** Whether something waits for the worker. */
  isWanted(): boolean;
  /** Steps that workers have served so far. */
  served(): number;
}

/** Wait before a start that follows failures or a worker that died before it served anything; doubled each time. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

export class Recovery {
  readonly #loaded: LoadedModel;
  readonly #events: RecoveryEvents;
  readonly #stop = new AbortController();
  #device: Device;
  /** Undefined while no worker has the model. */
  #residence: Residence | undefined;
  #logits: Promise<ProgramHandle> | undefined;
  #wantsLogits = false;
  #restart: Promise<void> | undefined;
  /** Starts and workers in a row that came to nothing. */
  #failures = 0;
  #servedBefore = 0;

  constructor(loaded: LoadedModel, events: RecoveryEvents) {
    this.#loaded = loaded;
    this.#events = events;
    this.#device = loaded.resident.device;
    this.#watch(loaded);
  }

  /** The worker's, or the last one's. */
  get device(): Device {
    return this.#device;
  }

  /** Sees to it that a worker has the model, or is on its way to. */
  wake(): void {
    this.ready().catch(() => {}); // Told by `onFailed`.
  }

  /** Resolves when a worker has the model. Rejects with what is in the way. */
  async ready(): Promise<void> {
    if (this.#residence !== undefined) return;
    this.#restart ??= this.#startAgain().finally(() => {
      this.#restart = undefined;
    });
    await this.#restart;
  }

  /** The program with logits, made when it is first asked for. */
  async logits(): Promise<ProgramHandle> {
    await this.ready();
    this.#wantsLogits = true;
    this.#logits ??= this.#residence!.defineLogits().catch((error) => {
      this.#logits = undefined; // The next request may be luckier, for example with memory.
      throw error;
    });
    return await this.#logits;
  }

  /** No worker is started any more. Resolves when none is being started. */
  async dispose(reason: OctavoError): Promise<void> {
    this.#stop.abort(reason);
    await this.#restart?.catch(() => {});
  }

  #watch(residence: Residence): void {
    this.#residence = residence;
    const { lost } = residence.resident.device;
    const onLost = () => void this.#lost(lost.reason);
    if (lost.aborted) onLost();
    else lost.addEventListener("abort", onLost, { once: true });
  }

  async #lost(reason: OctavoError): Promise<void> {
    this.#residence = undefined;
    this.#logits = undefined;
    const served = this.#events.served();
    this.#failures = served > this.#servedBefore ? 0 : this.#failures + 1;
    this.#servedBefore = served;
    await this.#events.onLost(reason);
    // A worker that died before it served anything may do so again: then only when somebody wants it.
    if (!this.#stop.signal.aborted && (this.#failures === 0 || this.#events.isWanted())) this.wake();
  }

  async #startAgain(): Promise<void> {
    const { signal } = this.#stop;
    try {
      const pause = this.#failures === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), LONGEST_PAUSE_MS);
      await setTimeout(pause, undefined, { signal, ref: this.#events.isWanted() }).catch(() => signal.throwIfAborted());
      if (this.#device.lost.aborted) this.#device = await this.#loaded.pool.restart(this.#device);
      const residence = await this.#loaded.reside(this.#device, { signal });
      if (this.#wantsLogits) this.#logits = Promise.resolve(await residence.defineLogits());
      signal.throwIfAborted();
      this.#device.lost.throwIfAborted();
      this.#watch(residence);
      this.#events.onBack({ program: residence.program, logits: await this.#logits });
    } catch (error) {
      this.#failures += 1;
      this.#events.onFailed(error);
      throw error;
    }
  }
}

/** What a request is told that a worker's loss has ended: asked again, it runs on the next worker. */
export function endedByLoss(error: unknown): unknown {
  if (!OctavoError.isInstance(error) || (error.code !== "OCTAVO_WORKER_LOST" && error.code !== "OCTAVO_STEP_TIMEOUT"))
    return error;
  return new OctavoError(error.code, error.message, { cause: error, retryable: true });
}
