/**
 * Requests to one worker and their answers: ids, epoch, deadlines, and credits that bound the bytes in flight.
 * A worker serves requests in order, so only the oldest one is being worked on, and only its deadline runs.
 */
import { setTimeout } from "node:timers/promises";
import type { Reply, RequestMessage } from "../../protocol/messages.ts";
import { badArgument, ERRORS, type ErrorCode, OctavoError } from "../errors.ts";
import { mismatch } from "./answers.ts";
import { MAX_FRAME_BYTES, type Peer } from "./channel.ts";
import { decodeReply, encodeRequest as encode } from "./codec.ts";
import { computes, deadlineOf } from "./deadlines.ts";
import { Queue } from "./queue.ts";
import type { OkReply, RequestBody } from "./requests.ts";
import { Watch } from "./watch.ts";

export interface Answer {
  readonly reply: OkReply;
  readonly payload: Buffer | undefined;
}

export interface SendOptions {
  /**
   * Milliseconds that the worker may take, from when all earlier requests are answered; by default what `deadlines.ts` says
   * of the message. Each progress message starts them anew.
   */
  readonly deadlineMs?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Asked when the deadline is over: milliseconds that the worker may go on; undefined, and by default: it is stopped. */
  readonly onLate?: (() => number | undefined) | undefined;
}

interface Pending {
  readonly id: number;
  readonly body: RequestBody;
  readonly frames: Uint8Array[];
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly onProgress: SendOptions["onProgress"];
  readonly onLate: SendOptions["onLate"];
  /** Of its last progress message. */
  done: number;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** Payload bytes on their way to one worker; further requests wait here, in order. */
const CREDIT_BYTES = 64 * 2 ** 20;
/** A worker that has had nothing to do for so long is asked whether it is there. */
const IDLE_MS = 15_000;
/** And has so long to say so. */
const PING_MS = 30_000;

export interface ConnectionEvents {
  /** From no pending requests to some, and back. */
  onBusy(busy: boolean): void;
  /** The oldest request is over its deadline, or the peer broke the protocol. */
  onFailure(error: OctavoError): void;
  /** A message could not be delivered: the process has just ended, or is cut off. */
  onUnreachable(error: Error): void;
}

export class Connection {
  readonly #peer: Peer;
  readonly #device: string;
  readonly #epoch: number;
  readonly #events: ConnectionEvents;
  /** Sent and not answered, oldest first. */
  readonly #pending = new Map<number, Pending>();
  readonly #waiting = new Queue<Pending>();
  #lastId = 0;
  #inFlight = 0;
  #since = 0;
  /** Of the oldest pending request, or of the silence when there is none. */
  readonly #watch = new Watch(() => this.#late());
  #ended: OctavoError | undefined;

  constructor(peer: Peer, device: string, epoch: number, events: ConnectionEvents) {
    this.#peer = peer;
    this.#device = device;
    this.#epoch = epoch;
    this.#events = events;
    peer.onMessage = (header, payloads) => this.#receive(header, payloads);
  }

  /** Sent before this returns, unless the credits are used up. `payload` must not change afterwards. */
  request(body: RequestBody, payload?: Uint8Array, options: SendOptions = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) throw this.#ended;
      if (payload !== undefined && payload.byteLength > MAX_FRAME_BYTES)
        throw badArgument(`a payload of ${payload.byteLength} bytes; one message carries at most ${MAX_FRAME_BYTES}`);
      this.#lastId += 1;
      const id = this.#lastId;
      const header = encode({ ...body, id, epoch: this.#epoch } as RequestMessage);
      const frames = payload === undefined ? [header] : [header, payload];
      const bytes = header.length + (payload?.byteLength ?? 0);
      const { onProgress, onLate, deadlineMs = deadlineOf(body) } = options;
      const pending = { id, body, frames, bytes, deadlineMs, onProgress, onLate, done: 0, resolve, reject };
      if (this.#waiting.length > 0 || !this.#hasCredit(bytes)) this.#waiting.push(pending);
      else this.#send(pending);
    });
  }

  /** When the worker began with what it is doing, or became idle: a moment of `performance.now()`. */
  get since(): number {
    return this.#since;
  }

  /** When nothing waits for an answer any more, or after so many milliseconds. */
  async answered(ms: number): Promise<void> {
    const end = performance.now() + ms;
    while (this.#pending.size > 0 && performance.now() < end) await setTimeout(1);
  }

  /** Reject everything, now and from now on. */
  end(error: OctavoError, oldest: OctavoError = error): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#watch.stop();
    this.#peer.forget();
    const all = [...this.#pending.values(), ...this.#waiting.drain()];
    this.#pending.clear();
    all.forEach((pending, index) => {
      pending.reject(index === 0 ? oldest : error);
    });
    if (all.length > 0) this.#events.onBusy(false);
  }

  /** One message alone may exceed the credits; else nothing could ever be sent. */
  #hasCredit(bytes: number): boolean {
    return this.#inFlight === 0 || this.#inFlight + bytes <= CREDIT_BYTES;
  }

  #send(pending: Pending): void {
    this.#inFlight += pending.bytes;
    this.#pending.set(pending.id, pending);
    if (this.#pending.size === 1) {
      this.#since = performance.now();
      this.#events.onBusy(true);
      this.#watch.restart(pending.deadlineMs);
    }
    this.#peer.send(pending.frames, (error) => this.#events.onUnreachable(error));
    pending.frames.length = 0; // The socket holds them as long as needed.
  }

  #receive(header: Buffer, payloads: Buffer[]): void {
    let reply: Reply;
    let pending: Pending;
    try {
      reply = decodeReply(header);
      pending = this.#match(reply, payloads.length);
    } catch (error) {
      this.#events.onFailure(error as OctavoError);
      return;
    }
    if (reply.kind === "progress") {
      this.#progress(pending, reply);
      return;
    }
    this.#since = performance.now();
    this.#pending.delete(reply.id);
    this.#inFlight -= pending.bytes;
    for (
      let next = this.#waiting.peek();
      next !== undefined && this.#hasCredit(next.bytes);
      next = this.#waiting.peek()
    ) {
      this.#waiting.shift();
      this.#send(next);
    }
    const [oldest] = this.#pending.values();
    this.#watch.restart(oldest?.deadlineMs ?? IDLE_MS);
    if (oldest === undefined) this.#events.onBusy(false);
    if (reply.kind === "ok") pending.resolve({ reply, payload: payloads[0] });
    else pending.reject(remoteError(this.#device, reply));
  }

  /**
   * The request that a reply belongs to. Throws `OCTAVO_PROTOCOL` for one that belongs to none: the request that it was meant
   * for would wait for ever. What an earlier worker has sent does not come here: each has a connection of its own.
   */
  #match(reply: Reply, payloads: number): Pending {
    const pending = this.#pending.get(reply.id);
    if (reply.epoch !== this.#epoch) throw this.#breach(`a reply for epoch ${reply.epoch}, not ${this.#epoch}`);
    if (pending === undefined) throw this.#breach(`a reply to request ${reply.id}, which does not wait for one`);
    if (reply.kind === "progress") {
      if (pending.body.kind !== "load") throw this.#breach(`progress of "${pending.body.kind}", which has none`);
      if (reply.done > reply.total) throw this.#breach(`progress of ${reply.done} bytes of ${reply.total}`);
    }
    const wrong = reply.kind === "ok" ? mismatch(pending.body, reply, payloads) : undefined;
    if (wrong !== undefined) throw this.#breach(wrong);
    return pending;
  }

  #breach(how: string): OctavoError {
    return new OctavoError("OCTAVO_PROTOCOL", `${this.#device}: ${how}; the worker was stopped`);
  }

  /** Only what goes on starts the deadline anew. */
  #progress(pending: Pending, { done, total }: Extract<Reply, { kind: "progress" }>): void {
    if (done <= pending.done) return;
    pending.done = done;
    this.#watch.restart(pending.deadlineMs);
    try {
      pending.onProgress?.(done, total);
    } catch (error) {
      pending.reject(error as Error); // The caller's own; the answer is still waited for, and dropped.
    }
  }

  #late(): void {
    const [oldest] = this.#pending.values();
    if (oldest === undefined) {
      this.request({ kind: "drain" }, undefined, { deadlineMs: PING_MS }).catch(() => {}); // Told by `onFailure`.
      return;
    }
    const more = oldest.onLate?.();
    if (more !== undefined) {
      this.#watch.restart(more);
      return;
    }
    const { deadlineMs } = oldest;
    const { kind } = oldest.body;
    const text = `${this.#device}: "${kind}" was not answered within ${Math.round(deadlineMs)} ms; the worker was stopped`;
    const code = computes(kind) ? "OCTAVO_STEP_TIMEOUT" : "OCTAVO_WORKER_LOST";
    this.#events.onFailure(new OctavoError(code, text));
  }
}

function remoteError(device: string, { code, message, retryable }: Extract<Reply, { kind: "error" }>): OctavoError {
  const known = Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : "OCTAVO_WORKER_FAILED";
  return new OctavoError(known, `${device}: ${message}`, { retryable });
}
