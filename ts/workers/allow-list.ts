/**
 * The keys that may connect (ZAP, https://rfc.zeromq.org/spec/27): zeromq asks at each handshake, and a connection whose key is
 * not here never brings a message. Measured: a CURVE socket whose context nobody answers for lets every key in, hence
 * `zapEnforceDomain`, and hence this is bound before any other socket of its context.
 */
import { setTimeout } from "node:timers/promises";
import { isMainThread } from "node:worker_threads";
import type { Context, Reply } from "zeromq";
import { z85 } from "./z85.ts";
import type { ZeroMq } from "./zeromq.ts";

/** Of the sockets that ask. */
export const ZAP_DOMAIN = "octavo";
const ENDPOINT = "inproc://zeromq.zap.01";
const KEY_BYTES = 32;
/** Outside the main thread: milliseconds between two looks (see `Channel`). */
const LOOK_MS = 10;

export class AllowList {
  readonly #socket: Reply;
  readonly #keys = new Set<string>();
  #refused = 0;
  readonly #answering: Promise<void>;

  private constructor(socket: Reply) {
    this.#socket = socket;
    this.#answering = this.#answer();
  }

  /** Nobody is allowed yet. Before any other socket of the context. */
  static async open(zeromq: ZeroMq, context: Context): Promise<AllowList> {
    // In a thread a receive that waits ends the process when the thread is ended (zeromq.js #411).
    const socket = new zeromq.Reply({ context, linger: 0, receiveTimeout: isMainThread ? -1 : 0 });
    await socket.bind(ENDPOINT);
    return new AllowList(socket);
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
    const known =
      domain?.toString() === ZAP_DOMAIN &&
      mechanism?.toString() === "CURVE" &&
      key?.length === KEY_BYTES &&
      this.#keys.has(z85(key));
    if (!known) this.#refused += 1;
    // 400 is final for the client's socket. 300 (try again) would leave it without a word.
    const verdict = known ? ["200", "OK"] : ["400", "not expected"];
    return [version ?? "1.0", id ?? "", ...verdict, "", ""];
  }
}
