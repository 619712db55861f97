/** What is sent to a worker and what comes back, without what the connection adds. */
import type { Reply, Request } from "../../protocol/messages.ts";

type WithoutEnvelope<R> = R extends Request ? Omit<R, "id" | "epoch"> : never;
/** A request without what the connection adds. */
export type RequestBody = WithoutEnvelope<Request>;
export type OkReply = Extract<Reply, { kind: "ok" }>;
