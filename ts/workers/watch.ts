/**
 * A deadline in time that this process itself has lived through. A process that is stopped for a minute (a debugger, a
 * frozen container, Ctrl-Z) or whose loop is blocked has not waited for anybody: what was answered meanwhile lies unread.
 * So time is counted in ticks, a late tick counts as one, and messages are read between ticks.
 */

/** Milliseconds between two ticks, at most. A deadline has four at least. */
const TICK_MS = 1000;
/** A tick on a busy machine is late; how much of that still counts, in ticks. */
const LATE = 1.5;

export class Watch {
  readonly #onLate: () => void;
  #limit = 0;
  #spent = 0;
  #tickedAt = 0;
  #interval = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `onLate` is called once after each `restart` that no other, and no `stop`, has followed in time. */
  constructor(onLate: () => void) {
    this.#onLate = onLate;
  }

  /** From now on, `limitMs`. Costs no timer when the one there is ticks often enough. */
  restart(limitMs: number): void {
    this.#limit = limitMs;
    this.#spent = 0;
    this.#tickedAt = performance.now();
    const interval = Math.min(TICK_MS, Math.max(5, limitMs / 4));
    if (this.#timer !== undefined && this.#interval <= interval) return;
    clearInterval(this.#timer);
    this.#interval = interval;
    this.#timer = setInterval(() => this.#tick(), interval);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    const now = performance.now();
    this.#spent += Math.min(now - this.#tickedAt, LATE * this.#interval);
    this.#tickedAt = now;
    if (this.#spent < this.#limit) return;
    this.stop();
    this.#onLate();
  }
}
