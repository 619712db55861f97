/**
 * Keeps a model on living workers. When one is lost, another is started in its place and the model is loaded there as the
 * first time: same plan, same programs. What waits meanwhile runs then. Nothing of the lost worker's state comes back:
 * requests that ran are over.
 */
import { setTimeout } from "node:timers/promises";
import { OctavoError } from "../errors.ts";
import type { ModelDeployment } from "./deployment.ts";
import type { Group } from "./group.ts";

export interface RecoveryEvents {
  /** A worker is gone; nothing can run. Resolves when requests that ran have ended. */
  onLost(reason: OctavoError): Promise<void>;
  /** Living workers have the model. */
  onBack(programs: { readonly program: Group; readonly logits: Group | undefined }): void;
  /** No worker could be started, or the model not be loaded there. The next `wake` tries again. */
  onFailed(reason: unknown): void;
  /** Whether something waits for the model. */
  isWanted(): boolean;
  /** Steps that were served so far. */
  served(): number;
}

/** Wait before a start that follows failures or a worker that died before it served anything; doubled each time. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

export class Recovery {
  readonly #deployment: ModelDeployment;
  readonly #events: RecoveryEvents;
  readonly #stop = new AbortController();
  /** Whether living workers have the model. */
  #present = false;
  #wantsLogits = false;
  #restart: Promise<void> | undefined;
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

  /** The program with logits, made when it is first asked for. */
  async logits(): Promise<Group> {
    await this.ready();
    this.#stop.signal.throwIfAborted();
    this.#wantsLogits = true;
    return await this.#deployment.logits();
  }

  /** No worker is started any more, and the deployment is gone. */
  async dispose(reason: OctavoError): Promise<void> {
    this.#stop.abort(reason);
    await this.#deployment.dispose(this.#restart);
  }

  #watch(): void {
    this.#present = true;
    for (const lost of this.#deployment.losses) {
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
    await this.#events.onLost(reason);
    // A worker that died before it served anything may do so again: then only when somebody wants it.
    if (!this.#stop.signal.aborted && (this.#failures === 0 || this.#events.isWanted())) this.wake();
  }

  async #startAgain(): Promise<void> {
    const { signal } = this.#stop;
    const deployment = this.#deployment;
    try {
      const pause = this.#failures === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), LONGEST_PAUSE_MS);
      await setTimeout(pause, undefined, { signal, ref: this.#events.isWanted() }).catch(() => signal.throwIfAborted());
      await deployment.replaceLost();
      await deployment.load({ signal });
      const logits = this.#wantsLogits ? await deployment.logits() : undefined;
      signal.throwIfAborted();
      for (const lost of deployment.losses) lost.throwIfAborted();
      this.#watch();
      this.#events.onBack({ program: deployment.program, logits });
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
