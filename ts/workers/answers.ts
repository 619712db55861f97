/**
 * What an `ok` brings, by the kind of its request. One that lacks it, or brings what belongs to another kind, answers
 * something else than what was asked, and whatever follows cannot be trusted either.
 */
import type { RequestKind } from "../../protocol/messages.ts";
import type { OkReply, RequestBody } from "./requests.ts";

type Field = Exclude<keyof OkReply, "kind" | "id" | "epoch">;

const FIELDS: Readonly<Record<RequestKind, { readonly needed?: Field; readonly optional?: readonly Field[] }>> = {
  welcome: {},
  group: {},
  describe: { needed: "description" },
  allocate: { needed: "bytes" },
  load: { needed: "bytes" },
  write: {},
  read: { needed: "bytes" },
  free: { needed: "workspace" },
  define: { needed: "workspace", optional: ["launches"] },
  step: { needed: "counters", optional: ["profile", "nonfinite"] },
  measure: { needed: "ceiling" },
  call: { needed: "results" },
  stats: { needed: "statistics" },
  drain: {},
  bye: {},
};

/** What is wrong with an answer of so many payload frames; undefined when nothing is. */
export function mismatch(body: RequestBody, reply: OkReply, payloads: number): string | undefined {
  const { needed, optional = [] } = FIELDS[body.kind];
  if (needed !== undefined && reply[needed] === undefined) return `"${body.kind}" was answered without ${needed}`;
  for (const name of Object.keys(reply)) {
    if (name === "kind" || name === "id" || name === "epoch" || name === needed) continue;
    if (!optional.includes(name as Field)) return `"${body.kind}" was answered with ${name}`;
  }
  const [least, most] = payloadsOf(body);
  if (payloads >= least && payloads <= most) return undefined;
  return `"${body.kind}" was answered with ${payloads} payloads`;
}

/** At least, at most. A step without outputs has none. */
function payloadsOf(body: RequestBody): readonly [number, number] {
  if (body.kind === "step") return [0, 1];
  return body.kind === "read" && body.shared === undefined ? [1, 1] : [0, 0];
}
