/**
 * The socket: one ROUTER for all workers of a pool, one reader loop, one writer queue (zeromq.js allows one pending send
 * and one pending receive). Workers are known by the identity that the ROUTER gave their connection, and only after a
 * hello with the secret token of their launch: whatever strangers and late processes send is dropped.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate, setTimeout } from "node:timers/promises";
import { isMainThread } from "node:worker_threads";
import type { Router } from "zeromq";
import type { Hello } from "../../protocol/messages.ts";
import { messageOf, OctavoError } from "../errors.ts";
import { NOT_BUNDLED } from "../python.ts";
import { decodeHello } from "./codec.ts";
import { makeOwnedFolder, removeFolder } from "./owned-folder.ts";
import { Queue } from "./queue.ts";

/** Largest frame. A larger one costs the sender its connection, so both sides check before they send. */
export const MAX_FRAME_BYTES = 2 ** 30;
/** Outside the main thread: milliseconds between two looks at the socket while there is traffic, and else. */
const LOOK_MS = 1;
const IDLE_LOOK_MS = 10;
/** Traffic counts as such for so long. */
const TRAFFIC_MS = 500;
/** Messages in a row after which timers and other sockets have their turn, whatever else has come. */
const BURST = 256;

/** The connection of one worker. */
export interface Peer {
  /** `onError`: the frames did not leave; the worker cannot be reached. */
  send(frames: Uint8Array[], onError: (error: Error) => void): void;
  /** Set by the owner. Frames are external memory: copy small parts that are kept. */
  onMessage: (header: Buffer, payloads: Buffer[]) => void;
  /** From now on its messages are dropped. */
  forget(): void;
}

/** Where a worker connects. */
export interface Door {
  readonly endpoint: string;
  /** Nobody else can come in, and nothing is left of it in the file system. Who is in stays in. */
  close(): void;
}

interface Outgoing {
  readonly frames: Uint8Array[];
  readonly onError: (error: Error) => void;
}

export class Channel {
  readonly #socket: Router;
  readonly #peers = new Map<string, Peer>();
  readonly #expected = new Map<string, (peer: Peer, hello: Hello) => void>();
  readonly #queue = new Queue<Outgoing>();
  readonly #doors = new Set<Door>();
  #sending = false;
  #closed = false;
  #trafficAt = 0;
  readonly #reader: Promise<void>;

  private constructor(zeromq: typeof import("zeromq")) {
    this.#socket = new zeromq.Router({
      mandatory: true, // else messages to an unknown peer vanish
      sendTimeout: 0, // else a send to an unknown peer can hang for ever
      sendHighWaterMark: 0, // what is in flight is bounded by bytes, in connection.ts
      receiveHighWaterMark: 0,
      linger: 0, // workers have answered `bye` before the socket closes; nothing is left to wait for
      maxMessageSize: MAX_FRAME_BYTES,
      // No heartbeats: the system tells of ends, connection.ts of silence, and a process that is stopped for a while (a
      // debugger, a frozen container) must not lose its workers.
    });
    this.#reader = isMainThread ? this.#read() : this.#look();
  }

  /** Throws `OCTAVO_MISSING_DEPENDENCY` when zeromq's native part cannot be loaded. */
  static async open(): Promise<Channel> {
    let zeromq: typeof import("zeromq");
    try {
      // Not before it is needed: a bundle cannot hold it, and then fails here, with our words.
      zeromq = await import("zeromq");
    } catch (cause) {
      const text = `zeromq cannot be loaded (${messageOf(cause)}); ${NOT_BUNDLED}`;
      throw new OctavoError("OCTAVO_MISSING_DEPENDENCY", text, { cause });
    }
    return new Channel(zeromq);
  }

  /** Throws `OCTAVO_WORKER_START_FAILED` when the folder for temporary files cannot be used. */
  door(): Door {
    if (process.platform === "win32") {
      this.#socket.bindSync("tcp://127.0.0.1:*");
      return { endpoint: this.#socket.lastEndpoint!, close: () => {} };
    }
    // A socket path has at most about 107 bytes, of which the folder's name takes up to 50.
    const root = tmpdir().length > 50 ? "/tmp" : tmpdir();
    let folder: string | undefined;
    try {
      folder = makeOwnedFolder(root);
      const endpoint = `ipc://${join(folder, "socket")}`;
      this.#socket.bindSync(endpoint); // `bind` would make sends to other workers fail meanwhile.
      const made = folder;
      const door = {
        endpoint,
        close: () => {
          this.#doors.delete(door);
          removeFolder(made); // Connections do not need the socket's name any more.
        },
      };
      this.#doors.add(door);
      return door;
    } catch (cause) {
      if (folder !== undefined) removeFolder(folder);
      const text = `no socket for workers in ${root}: ${messageOf(cause)}; set TMPDIR to a folder that can be written`;
      throw new OctavoError("OCTAVO_WORKER_START_FAILED", text, { cause });
    }
  }

  /** `arrived` is called once, when a worker says hello with this token. Returns a function that withdraws it. */
  expect(token: string, arrived: (peer: Peer, hello: Hello) => void): () => void {
    this.#expected.set(token, arrived);
    return () => this.#expected.delete(token);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#socket.close();
    await this.#reader;
    for (const door of this.#doors) door.close();
  }

  /** zeromq.js itself leaves the loop to others now and then. */
  async #read(): Promise<void> {
    try {
      for await (const frames of this.#socket) this.#take(frames);
    } catch (error) {
      if (!this.#closed) throw error; // In the middle of a message, closing is one.
    }
  }

  /**
   * The same without a receive that waits: zeromq.js aborts the whole process when a thread (`worker_threads`) is ended
   * that has one (zeromq.js #411), and a thread that is terminated cannot close its socket first.
   */
  async #look(): Promise<void> {
    this.#socket.receiveTimeout = 0;
    let inARow = 0;
    while (!this.#closed) {
      let frames: Buffer[];
      try {
        frames = await this.#socket.receive();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return; // Closed.
        const busy = performance.now() - this.#trafficAt < TRAFFIC_MS;
        await setTimeout(busy ? LOOK_MS : IDLE_LOOK_MS);
        continue;
      }
      this.#trafficAt = performance.now();
      this.#take(frames);
      inARow += 1;
      if (inARow % BURST === 0) await setImmediate(); // What lies there is handed out without one.
    }
  }

  #take([identity, header, ...payloads]: Buffer[]): void {
    if (identity === undefined || header === undefined) return;
    const key = identity.toString("latin1");
    const peer = this.#peers.get(key);
    if (peer !== undefined) peer.onMessage(header, payloads);
    else this.#greet(key, identity, header);
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
    this.#trafficAt = performance.now();
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
