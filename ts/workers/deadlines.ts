/**
 * How long a worker may take to answer before it counts as hung, where the sender of a message has not said. Wrongly stopped
 * work is worse than a hang that is noticed late. Steps have `StepDeadlines`.
 */
import type { RequestMessage } from "../../protocol/messages.ts";
import { allocatedBytes } from "../program/tensor-bytes.ts";
import type { RequestBody } from "./requests.ts";

/** What does not grow with anything. */
const OTHER_MS = 30_000;
/** Of a disk across a slow network; each tensor that is done starts the deadline anew. */
const LOAD_BYTES_PER_MS = 5_000;
const ZERO_BYTES_PER_MS = 100_000;
const MS_PER_OP = 50;
/** A user's function: nothing is known of it. */
const CALL_MS = 120_000;

/** Milliseconds. */
export function deadlineOf(body: RequestBody): number {
  switch (body.kind) {
    case "load": {
      const bytes = body.items.flatMap(({ parts }) => parts).reduce((sum, part) => sum + part.bytes, 0);
      return OTHER_MS + bytes / LOAD_BYTES_PER_MS;
    }
    case "allocate": {
      const bytes = body.handles.reduce(
        (sum, { dtype, layout, shape }) => sum + allocatedBytes(dtype, layout, shape),
        0,
      );
      return OTHER_MS + bytes / ZERO_BYTES_PER_MS;
    }
    case "define":
      return OTHER_MS + body.ops.length * MS_PER_OP;
    case "call":
      return CALL_MS;
    default:
      return OTHER_MS;
  }
}

/** Whether a request's lateness is a computation's: `OCTAVO_STEP_TIMEOUT`. */
export function computes(kind: RequestMessage["kind"]): boolean {
  return kind === "step" || kind === "call";
}
