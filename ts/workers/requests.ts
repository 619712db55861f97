/** What is sent to a worker and what comes back, without what the connection adds. */
import type { Reply, RequestMessage } from "../../protocol/messages.ts";

type WithoutEnvelope<R> = R extends RequestMessage ? Omit<R, "id" | "epoch"> : never;
/** A request without what the connection adds. */
export type RequestBody = WithoutEnvelope<RequestMessage>;
export type OkReply = Extract<Reply, { kind: "ok" }>;
