/** One worker as seen from Node: from the start of its process to its end, whichever way it ends. */
import { randomBytes } from "node:crypto";
import { type DeviceDescription, type Hello, PROTOCOL_VERSION } from "../../protocol/messages.ts";
import { OctavoError } from "../errors.ts";
import type { DeviceName } from "../plan/devices.ts";
import type { Channel, Peer } from "./channel.ts";
import { type Answer, Connection, type SendOptions } from "./connection.ts";
import { checkDescriptors } from "./descriptors.ts";
import { type Exit, type LaunchedProcess, launchLocal, startFailure } from "./launcher.ts";
import type { RequestBody } from "./requests.ts";
import { isAlive, next, type WorkerEvent, type WorkerState } from "./state.ts";
import { Watch } from "./watch.ts";

/** For answers that a worker has sent before it ended in order. */
const LAST_ANSWERS_MS = 1000;

export interface WorkerOptions {
  readonly channel: Channel;
  readonly device: DeviceName;
  readonly threads: number;
  /** Incarnation: a number that no earlier worker of this pool had. */
  readonly epoch: number;
  /** What `call` may run: "module" or "module:function". */
  readonly functions: readonly string[];
  /** Descriptor of the file that payloads go through, if the machine has shared memory. */
  readonly sharedFd: number | undefined;
  readonly python: string | undefined;
  /** From the start of the process to its hello. */
  readonly startDeadlineMs: number;
  /** For every step, instead of what its program says. */
  readonly stepDeadlineMs: number | undefined;
  /** From `stop` to a kill. */
  readonly stopDeadlineMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onLog: ((device: string, line: string) => void) | undefined;
  readonly onCompile: ((done: number, total: number) => void) | undefined;
}

export class Worker {
  readonly name: string;
  readonly description: DeviceDescription;
  readonly pid: number;
  readonly stepDeadlineMs: number | undefined;
  readonly #process: LaunchedProcess;
  readonly #connection: Connection;
  readonly #stopDeadlineMs: number;
  readonly #lost = new AbortController();
  #state: WorkerState = "starting";
  #stopping: Promise<void> | undefined;

  private constructor(options: WorkerOptions, process: LaunchedProcess, peer: Peer, hello: Hello) {
    this.name = options.device.name;
    this.description = hello.description;
    this.pid = hello.pid;
    this.#process = process;
    this.stepDeadlineMs = options.stepDeadlineMs;
    this.#stopDeadlineMs = options.stopDeadlineMs;
    this.#connection = new Connection(peer, this.name, options.epoch, {
      onBusy: (busy) => this.#enter(busy ? "work" : "idle"),
      onFailure: (error) => this.#lose(error),
      // How the process ended says more than that it cannot be reached, and will be known in a moment.
      onUnreachable: () => process.kill("SIGKILL"),
    });
    void process.exited.then((exit) => this.#exited(exit));
  }

  /**
   * Starts the process, waits for its hello and welcomes it. When this throws, no process is left.
   * Throws `OCTAVO_WORKER_START_FAILED`, `OCTAVO_MISSING_DEPENDENCY`, `OCTAVO_PROTOCOL`, or the signal's reason.
   */
  static async start(options: WorkerOptions): Promise<Worker> {
    const { channel, device, signal } = options;
    signal?.throwIfAborted();
    checkDescriptors(`starting the worker of ${device.name}`, { workers: 1 });
    const token = randomBytes(24).toString("hex");
    const door = channel.door();
    const greeting = awaitHello(channel, token);
    const { endpoint } = door;
    const process = launchLocal({ ...options, endpoint, device: device.name, backend: device.backend, token });
    try {
      const { peer, hello } = await first(greeting.arrived, process, options);
      door.close();
      if (hello.protocol !== PROTOCOL_VERSION) throw otherProtocol(device.name, hello);
      const worker = new Worker(options, process, peer, hello);
      await worker.request(
        { kind: "welcome", protocol: PROTOCOL_VERSION, functions: [...options.functions] },
        undefined,
        { deadlineMs: options.startDeadlineMs },
      );
      worker.#enter("welcomed");
      return worker;
    } catch (error) {
      process.kill("SIGKILL");
      await process.exited;
      throw error;
    } finally {
      greeting.withdraw();
      door.close();
    }
  }

  get state(): WorkerState {
    return this.#state;
  }

  /** Lost, stopped, or on the way to it. */
  get ended(): boolean {
    return this.#stopping !== undefined || !isAlive(this.#state);
  }

  /** Aborted, with the error, when the worker is lost; not when it is stopped on purpose. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Settles when its process has ended. */
  get exited(): Promise<unknown> {
    return this.#process.exited;
  }

  /**
   * Requests are sent, served and answered in the order of the calls. `payload` must not change afterwards.
   * Rejects with the worker's error, `OCTAVO_WORKER_LOST` (within a second of the loss), `OCTAVO_STEP_TIMEOUT`, or
   * `OCTAVO_DISPOSED` after `stop`.
   */
  request(body: RequestBody, payload?: Uint8Array, options?: SendOptions): Promise<Answer> {
    if (this.#stopping !== undefined)
      return Promise.reject(new OctavoError("OCTAVO_DISPOSED", `${this.name}: the worker is stopped`));
    return this.#connection.request(body, payload, options);
  }

  /** Lets it finish what it has, then ends it; by force after the stop deadline. Never throws. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    if (!isAlive(this.#state)) return;
    this.#enter("drain");
    const force = setTimeout(() => this.#process.kill("SIGKILL"), this.#stopDeadlineMs);
    await this.#connection.request({ kind: "bye" }).catch(() => this.#process.kill("SIGKILL"));
    await this.#process.exited;
    clearTimeout(force);
  }

  #enter(event: WorkerEvent): void {
    this.#state = next(this.#state, event);
  }

  async #exited(exit: Exit): Promise<void> {
    if (this.#state === "draining") {
      // Its last answers come by another way than the news of its end, and may be later.
      if (exit.code === 0) await this.#connection.answered(LAST_ANSWERS_MS);
      this.#enter("exit");
      this.#connection.end(new OctavoError("OCTAVO_DISPOSED", `${this.name}: the worker is stopped`));
      return;
    }
    const killed = exit.signal === "SIGKILL" ? " (by somebody, or by the system for want of memory)" : "";
    const how = exit.signal === undefined ? `exit code ${exit.code}` : `signal ${exit.signal}${killed}`;
    // What it wrote during earlier requests has nothing to do with its end.
    const log = this.#process.log(this.#connection.since);
    const text = `${this.name}: the worker process ended with ${how}; its tensors are gone.${log && `\n${log}`}`;
    this.#lose(new OctavoError("OCTAVO_WORKER_LOST", text));
  }

  /**
   * `cause` goes to the oldest pending request, which the worker was at; all others and later ones are told of the loss, by `lost`'s
   * reason itself. So who asked can tell which of the two he is.
   */
  #lose(cause: OctavoError): void {
    if (!isAlive(this.#state)) return;
    this.#enter("exit");
    this.#process.kill("SIGKILL"); // It may hang inside a kernel.
    const text =
      cause.code === "OCTAVO_WORKER_LOST" ? cause.message : `${this.name}: the worker was stopped: ${cause.message}`;
    const error = new OctavoError("OCTAVO_WORKER_LOST", text, { cause });
    this.#connection.end(error, cause);
    this.#lost.abort(error);
  }
}

function awaitHello(channel: Channel, token: string) {
  let withdraw = () => {};
  const arrived = new Promise<{ peer: Peer; hello: Hello }>((resolve) => {
    withdraw = channel.expect(token, (peer, hello) => resolve({ peer, hello }));
  });
  return { arrived, withdraw: () => withdraw() };
}

/** The hello, or why there is none: the process ended, took too long, or nobody waits any more. */
async function first<T>(arrived: Promise<T>, process: LaunchedProcess, options: WorkerOptions): Promise<T> {
  const { device, signal, startDeadlineMs } = options;
  let onLate = () => {};
  const watch = new Watch(() => onLate());
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
  const late = new Promise<never>((_, reject) => {
    onLate = () => {
      const log = process.log();
      const text = `${device.name}: the worker (${process.python}) did not say hello within ${startDeadlineMs} ms`;
      reject(new OctavoError("OCTAVO_WORKER_START_FAILED", `${text}.${log && `\n${log}`}`, { retryable: true }));
    };
  });
  watch.restart(startDeadlineMs);
  const ended = process.exited.then((exit) => {
    throw startFailure(device.name, process, exit);
  });
  try {
    return await Promise.race([arrived, ended, aborted, late]);
  } finally {
    watch.stop();
    signal?.removeEventListener("abort", onAbort);
    ended.catch(() => {});
  }
}

function otherProtocol(device: string, hello: Hello): OctavoError {
  const { protocol, versions } = hello;
  const text = `${device}: the worker (octavo-worker ${versions.worker}) speaks protocol ${protocol}, this package ${PROTOCOL_VERSION}; update both`;
  return new OctavoError("OCTAVO_PROTOCOL", text);
}
