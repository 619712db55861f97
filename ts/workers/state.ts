/** The life of a worker as a table: which event leads from which state to which. Anything not listed is a bug, and throws. */

export type WorkerState = "starting" | "ready" | "busy" | "draining" | "lost" | "stopped";
export type WorkerEvent =
  /** It said hello and was welcomed. */
  | "welcomed"
  /** A request went out; all requests are answered. */
  | "work"
  | "idle"
  /** It was asked to end. */
  | "drain"
  /** Its process ended, or was ended because it did not answer. */
  | "exit";

const TABLE: Readonly<Record<WorkerState, Partial<Record<WorkerEvent, WorkerState>>>> = {
  starting: { welcomed: "ready", work: "starting", idle: "starting", drain: "draining", exit: "lost" },
  ready: { work: "busy", idle: "ready", drain: "draining", exit: "lost" },
  busy: { work: "busy", idle: "ready", drain: "draining", exit: "lost" },
  draining: { work: "draining", idle: "draining", drain: "draining", exit: "stopped" },
  lost: { idle: "lost", drain: "lost", exit: "lost" },
  stopped: { idle: "stopped", drain: "stopped", exit: "stopped" },
};

export function next(state: WorkerState, event: WorkerEvent): WorkerState {
  const target = TABLE[state][event];
  if (target === undefined) throw new Error(`worker state machine: no event "${event}" in state "${state}"`);
  return target;
}

/** Whether requests may be sent. */
export function isAlive(state: WorkerState): boolean {
  return state === "starting" || state === "ready" || state === "busy" || state === "draining";
}
