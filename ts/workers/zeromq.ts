/** zeromq's native part, loaded when it is first needed. */
import { messageOf, OctavoError } from "../errors.ts";
import { NOT_BUNDLED } from "../python.ts";

export type ZeroMq = typeof import("zeromq");

/** Throws `OCTAVO_MISSING_DEPENDENCY` when it cannot be loaded. */
export async function loadZeroMq(): Promise<ZeroMq> {
  try {
    // Not before it is needed: a bundle cannot hold it, and then fails here, with our words.
    return await import("zeromq");
  } catch (cause) {
    const text = `zeromq cannot be loaded (${messageOf(cause)}); ${NOT_BUNDLED}`;
    throw new OctavoError("OCTAVO_MISSING_DEPENDENCY", text, { cause });
  }
}
