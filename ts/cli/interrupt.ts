/** Ctrl-C, and its siblings, as an abort signal. */

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** The reason of an abort by a signal of the system. */
export class Interrupted extends Error {
  override readonly name = "AbortError";
  /** 128 + the signal's number, as shells have it. */
  readonly exitCode: number;

  constructor(signal: keyof typeof SIGNALS) {
    super(`interrupted by ${signal}`);
    this.exitCode = SIGNALS[signal];
  }
}

/**
 * Runs a command with a signal that the first Ctrl-C aborts, so that it can end its workers; the second one exits at once
 * (workers end with this process in any case). Rejects with `Interrupted` after an abort, whatever the command itself threw.
 */
export async function interruptible<T>(command: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const handlers = Object.keys(SIGNALS).map((name) => {
    const signal = name as keyof typeof SIGNALS;
    const handler = () => {
      if (controller.signal.aborted) process.exit(SIGNALS[signal]);
      controller.abort(new Interrupted(signal));
    };
    process.on(signal, handler);
    return () => process.off(signal, handler);
  });
  try {
    const result = await command(controller.signal);
    controller.signal.throwIfAborted();
    return result;
  } catch (error) {
    controller.signal.throwIfAborted();
    throw error;
  } finally {
    for (const remove of handlers) remove();
  }
}
