/**
 * Keeps a model on living workers. When one is lost, another is started in its place and the model is loaded there as the
 * first time: same plan, same programs. Nothing of the lost worker's state comes back: who wants to go on there computes it
 * again.
 */
import { setTimeout } from "node:timers/promises";
import { OctavoError } from "../errors.ts";
import type { ModelDeployment } from "./deployment.ts";
import type { Group } from "./group.ts";

export interface RecoveryEvents {
  /** A worker is gone; nothing can run. Resolves when nothing that was asked of it is under way any more. */
  onLost(reason: OctavoError): Promise<void>;
  /** Living workers have the model. */
  onBack(programs: { readonly program: Group; readonly logits: Group | undefined }): void;
  /** No worker could be started, or the model not be loaded there, or each was lost before it served. The next `wake` tries again. */
  onFailed(reason: unknown): void;
  /** Whether something waits for the model. */
  isWanted(): boolean;
  /** Steps that were served so far. */
  served(): number;
}

/** Wait before a start that follows failures or a worker that died before it served anything; doubled each time. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 30_000;
/** Failures in a row after which those who wait are told. Those that another try cannot mend are told at once. */
const MOST_FAILURES = 5;

export class Recovery {
  readonly #deployment: ModelDeployment;
  readonly #events: RecoveryEvents;
  readonly #stop = new AbortController();
  /** Whether living workers have the model. */
  #present = false;
  #wantsLogits = false;
  /** Losses that are listened for. */
  readonly #watched = new WeakSet<AbortSignal>();
  #restart: Promise<void> | undefined;
  /** Settles when the events' owner is done with the last loss. */
  #told: Promise<void> = Promise.resolve();
  /** Starts and workers in a row that came to nothing. */
  #failures = 0;
  #servedBefore = 0;

  /** Of a deployment that is loaded. */
  constructor(deployment: ModelDeployment, events: RecoveryEvents) {
    this.#deployment = deployment;
    this.#events = events;
    this.#watch();
  }

  /** Sees to it that living workers have the model, or are on their way to. */
  wake(): void {
    this.ready().catch(() => {}); // Told by `onFailed`.
  }

  /** Resolves when living workers have the model. Rejects with what is in the way. */
  async ready(): Promise<void> {
    if (this.#present) return;
    this.#restart ??= this.#startAgain().finally(() => {
      this.#restart = undefined;
    });
    await this.#restart;
  }

  /** The program with logits, made when it is first asked for. A worker that is lost meanwhile is waited for. */
  async logits(): Promise<Group> {
    while (true) {
      await this.ready();
      this.#stop.signal.throwIfAborted();
      this.#wantsLogits = true;
      try {
        return await this.#deployment.logits();
      } catch (error) {
        if (this.#present || !isLoss(error)) throw error;
      }
    }
  }

  /** Ranks have lost each other, although no worker is known to be lost: as if one were. */
  broken(reason: OctavoError): void {
    void this.#lost(reason);
  }

  /** No worker is started any more, and the deployment is gone. */
  async dispose(reason: OctavoError): Promise<void> {
    this.#stop.abort(reason);
    await this.#deployment.dispose(this.#restart);
  }

  #watch(): void {
    this.#present = true;
    for (const lost of this.#deployment.losses) {
      if (this.#watched.has(lost)) continue; // It has lived on.
      this.#watched.add(lost);
      const onLost = () => void this.#lost(lost.reason);
      if (lost.aborted) onLost();
      else lost.addEventListener("abort", onLost, { once: true });
    }
  }

  async #lost(reason: OctavoError): Promise<void> {
    if (!this.#present) return; // With another rank's worker.
    this.#present = false;
    const served = this.#events.served();
    this.#failures = served > this.#servedBefore ? 0 : this.#failures + 1;
    this.#servedBefore = served;
    this.#told = this.#events.onLost(reason);
    await this.#told;
    if (this.#failures >= MOST_FAILURES) this.#events.onFailed(reason);
    // A worker that died before it served anything may do so again: then only when somebody wants it.
    if (!this.#stop.signal.aborted && (this.#failures === 0 || this.#events.isWanted())) this.wake();
  }

  async #startAgain(): Promise<void> {
    while (true) {
      try {
        await this.#start();
        return;
      } catch (error) {
        this.#failures += 1;
        if (this.#failures < MOST_FAILURES && isTransient(error)) continue;
        this.#events.onFailed(error);
        throw error;
      }
    }
  }

  async #start(): Promise<void> {
    const { signal } = this.#stop;
    const deployment = this.#deployment;
    const pause = this.#failures === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), LONGEST_PAUSE_MS);
    await setTimeout(pause, undefined, { signal, ref: this.#events.isWanted() }).catch(() => signal.throwIfAborted());
    await this.#told;
    await deployment.replaceLost();
    await deployment.load({ signal });
    const logits = this.#wantsLogits ? await deployment.logits() : undefined;
    signal.throwIfAborted();
    for (const lost of deployment.losses) lost.throwIfAborted();
    this.#watch();
    this.#events.onBack({ program: deployment.program, logits });
  }
}

/** Whether an error says that a worker, or the ranks' hold on each other, is gone. */
export function isLoss(error: unknown): error is OctavoError {
  return OctavoError.isInstance(error) && LOSSES.has(error.code);
}

const LOSSES: ReadonlySet<string> = new Set(["OCTAVO_WORKER_LOST", "OCTAVO_STEP_TIMEOUT", "OCTAVO_GROUP_BROKEN"]);

/** Whether the next start may come to more: the worker was lost as it began, or something stood in its way for a while. */
function isTransient(error: unknown): boolean {
  return isLoss(error) || (OctavoError.isInstance(error) && error.retryable);
}

/** What a request is told that workers' losses have ended: asked again, it runs on the next worker. */
export function endedByLoss(error: unknown): unknown {
  return isLoss(error) ? new OctavoError(error.code, error.message, { cause: error, retryable: true }) : error;
}
