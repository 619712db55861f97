/**
 * The keys that may connect (ZAP, https://rfc.zeromq.org/spec/27): zeromq asks at each handshake, and a connection whose key is
 * not here never brings a message. Measured: a CURVE socket whose context nobody answers for lets every key in, hence
 * `zapEnforceDomain`, and hence a list is opened before the sockets that it is for.
 */
import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { isMainThread } from "node:worker_threads";
import type { Context, Reply } from "zeromq";
import { z85 } from "./z85.ts";
import type { ZeroMq } from "./zeromq.ts";

const ENDPOINT = "inproc://zeromq.zap.01";
/** Outside the main thread: milliseconds between two looks (see `Channel`). */
const LOOK_MS = 10;
/** A millisecond apart; two or three are usual. */
const BIND_TRIES = 5000;

/**
 * One for all lists of this thread: zeromq.js gives a context back when the process ends (5 descriptors and 2 threads, measured),
 * and a context asks at one place.
 */
let context: Context | undefined;
let responder: Promise<Responder> | undefined;

export class AllowList {
  /** Of the sockets that ask. */
  readonly context: Context;
  readonly domain = `octavo-${randomBytes(8).toString("hex")}`;
  readonly #responder: Responder;
  readonly #keys = new Set<string>();
  #refused = 0;

  private constructor(its: Context, answering: Responder) {
    this.context = its;
    this.#responder = answering;
    answering.lists.set(this.domain, this);
  }

  /** Nobody is allowed yet. */
  static async open(zeromq: ZeroMq): Promise<AllowList> {
    context ??= new zeromq.Context();
    const its = context;
    for (;;) {
      responder ??= Responder.open(zeromq, its);
      const answering = await responder.catch((error: unknown) => {
        responder = undefined; // The next one tries again.
        throw error;
      });
      if (!answering.closed) return new AllowList(its, answering);
    }
  }

  /** Handshakes that were refused so far. */
  get refused(): number {
    return this.#refused;
  }

  /** `publicKey` in Z85. */
  allow(publicKey: string): void {
    this.#keys.add(publicKey);
  }

  /** No connection any more by this key; one that there is stays. */
  forbid(publicKey: string): void {
    this.#keys.delete(publicKey);
  }

  /** Whether this key may connect. */
  admits(publicKey: string): boolean {
    const known = this.#keys.has(publicKey);
    if (!known) this.#refused += 1;
    return known;
  }

  /** Nobody may connect any more. */
  async close(): Promise<void> {
    const { lists } = this.#responder;
    if (!lists.delete(this.domain) || lists.size > 0) return;
    responder = undefined;
    await this.#responder.close();
  }
}

/** Answers zeromq for the lists of all domains. */
class Responder {
  readonly lists = new Map<string, AllowList>();
  readonly #socket: Reply;
  readonly #answering: Promise<void>;

  private constructor(socket: Reply) {
    this.#socket = socket;
    this.#answering = this.#answer();
  }

  static async open(zeromq: ZeroMq, its: Context): Promise<Responder> {
    // In a thread a receive that waits ends the process when the thread is ended (zeromq.js #411).
    const socket = new zeromq.Reply({ context: its, linger: 0, receiveTimeout: isMainThread ? -1 : 0 });
    for (let tries = 1; ; tries++) {
      try {
        socket.bindSync(ENDPOINT);
        return new Responder(socket);
      } catch (error) {
        if (tries === BIND_TRIES) throw error;
        await setTimeout(1); // The last one's end takes zeromq a moment.
      }
    }
  }

  get closed(): boolean {
    return this.#socket.closed;
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.#answering;
  }

  async #answer(): Promise<void> {
    while (!this.#socket.closed) {
      try {
        const request = await this.#socket.receive();
        await this.#socket.send(this.#judge(request));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return; // Closed.
        await setTimeout(LOOK_MS);
      }
    }
  }

  /** version, id, domain, address, identity, mechanism, key -> version, id, code, text, user, metadata. */
  #judge([version, id, domain, , , mechanism, key]: Buffer[]): (Buffer | string)[] {
    const list = this.lists.get(String(domain));
    const known = String(mechanism) === "CURVE" && key?.length === 32 && list?.admits(z85(key)) === true;
    // 400 is final for the client's socket. 300 (try again) would leave it without a word.
    const verdict = known ? ["200", "OK"] : ["400", "not expected"];
    return [version ?? "1.0", id ?? "", ...verdict, "", ""];
  }
}
