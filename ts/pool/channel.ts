/**
 * The socket: one ROUTER for all workers of a pool, one reader loop, one writer queue (zeromq.js allows one pending send
 * and one pending receive). Workers are known by the identity that the ROUTER gave their connection, and only after a
 * hello with the secret token of their launch: whatever strangers and late processes send is dropped.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Router } from "zeromq";
import type { Hello } from "../../protocol/messages.ts";
import { decodeHello } from "./codec.ts";
import { makeOwnedFolder, removeFolder } from "./owned-folder.ts";
import { Queue } from "./queue.ts";

/** Largest frame. A larger one costs the sender its connection, so both sides check before they send. */
export const MAX_FRAME_BYTES = 2 ** 30;
const HEARTBEAT_MS = 1000;
const HEARTBEAT_TIMEOUT_MS = 10_000;

/** The connection of one worker. */
export interface Peer {
  /** `onError`: the frames did not leave; the worker cannot be reached. */
  send(frames: Uint8Array[], onError: (error: Error) => void): void;
  /** Set by the owner. Frames are external memory: copy small parts that are kept. */
  onMessage: (header: Buffer, payloads: Buffer[]) => void;
  /** From now on its messages are dropped. */
  forget(): void;
}

interface Outgoing {
  readonly frames: Uint8Array[];
  readonly onError: (error: Error) => void;
}

export class Channel {
  readonly endpoint: string;
  readonly #socket: Router;
  readonly #folder: string | undefined;
  readonly #peers = new Map<string, Peer>();
  readonly #expected = new Map<string, (peer: Peer, hello: Hello) => void>();
  readonly #queue = new Queue<Outgoing>();
  #sending = false;
  readonly #reader: Promise<void>;

  private constructor(socket: Router, endpoint: string, folder: string | undefined) {
    this.#socket = socket;
    this.endpoint = endpoint;
    this.#folder = folder;
    this.#reader = this.#read();
  }

  static async open(): Promise<Channel> {
    const socket = new Router({
      mandatory: true, // else messages to an unknown peer vanish
      sendTimeout: 0, // else a send to an unknown peer can hang for ever
      sendHighWaterMark: 0, // what is in flight is bounded by bytes, in connection.ts
      receiveHighWaterMark: 0,
      linger: 0, // workers have answered `bye` before the socket closes; nothing is left to wait for
      maxMessageSize: MAX_FRAME_BYTES,
      heartbeatInterval: HEARTBEAT_MS,
      heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    });
    if (process.platform === "win32") {
      await socket.bind("tcp://127.0.0.1:*");
      return new Channel(socket, socket.lastEndpoint!, undefined);
    }
    // A socket path has at most about 107 bytes, of which the folder's name takes up to 50.
    const folder = makeOwnedFolder(tmpdir().length > 50 ? "/tmp" : tmpdir());
    const endpoint = `ipc://${join(folder, "socket")}`;
    try {
      await socket.bind(endpoint);
    } catch (error) {
      removeFolder(folder);
      throw error;
    }
    return new Channel(socket, endpoint, folder);
  }

  /** `arrived` is called once, when a worker says hello with this token. Returns a function that withdraws it. */
  expect(token: string, arrived: (peer: Peer, hello: Hello) => void): () => void {
    this.#expected.set(token, arrived);
    return () => this.#expected.delete(token);
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.#reader;
    if (this.#folder !== undefined) removeFolder(this.#folder);
  }

  async #read(): Promise<void> {
    for await (const [identity, header, ...payloads] of this.#socket) {
      if (identity === undefined || header === undefined) continue;
      const key = identity.toString("latin1");
      const peer = this.#peers.get(key);
      if (peer !== undefined) peer.onMessage(header, payloads);
      else this.#greet(key, identity, header);
    }
  }

  #greet(key: string, identity: Buffer, header: Buffer): void {
    let hello: Hello;
    try {
      hello = decodeHello(header);
    } catch {
      return; // A stranger, or a worker that is dead to us.
    }
    const arrived = this.#expected.get(hello.token);
    if (arrived === undefined) return;
    this.#expected.delete(hello.token);
    const address = Buffer.from(identity); // A copy: the received one is external memory.
    const peer: Peer = {
      send: (frames, onError) => this.#send({ frames: [address, ...frames], onError }),
      onMessage: () => {},
      forget: () => this.#peers.delete(key),
    };
    this.#peers.set(key, peer);
    arrived(peer, hello);
  }

  #send(outgoing: Outgoing): void {
    this.#queue.push(outgoing);
    if (!this.#sending) void this.#write();
  }

  async #write(): Promise<void> {
    this.#sending = true;
    for (let item = this.#queue.shift(); item !== undefined; item = this.#queue.shift()) {
      try {
        await this.#socket.send(item.frames);
      } catch (error) {
        item.onError(error as Error);
      }
    }
    this.#sending = false;
  }
}
