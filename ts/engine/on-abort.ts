/**
 * Many listeners behind one. A server aborts hundreds of requests with the signal of its own shutdown; Node takes the
 * eleventh listener of a signal for a leak and warns.
 */
const waiting = new WeakMap<AbortSignal, { readonly callbacks: Set<() => void>; readonly listener: () => void }>();

/** Calls `callback` once when the signal is aborted. Returns what takes it back. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const { callbacks, listener } = waiting.get(signal) ?? listen(signal);
  callbacks.add(callback);
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0) return;
    signal.removeEventListener("abort", listener);
    waiting.delete(signal);
  };
}

function listen(signal: AbortSignal) {
  const callbacks = new Set<() => void>();
  const listener = () => {
    for (const callback of [...callbacks]) callback();
  };
  const entry = { callbacks, listener };
  signal.addEventListener("abort", listener, { once: true });
  waiting.set(signal, entry);
  return entry;
}
