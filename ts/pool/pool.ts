/** The worker processes of one machine, one per device, and the channel they share. */
import { OctavoError } from "../errors.ts";
import { parseDeviceNames } from "../memory/devices.ts";
import { Device } from "../tensor/device.ts";
import { Channel } from "./channel.ts";
import { shareCores, usableCores } from "./cores.ts";
import { SharedMemory } from "./shared-memory.ts";
import { Worker } from "./worker.ts";

export interface PoolOptions {
  /** "auto" (default), "cpu:0", "cpu:0,cpu:1", or a list: one worker each. */
  readonly devices?: string | readonly string[];
  /** Where workers run: processes of this machine. */
  readonly launcher?: "local";
  /** What `device.call` may run: Python modules ("my_ops": its own public functions) or single functions ("my_ops:rotate"). */
  readonly ops?: readonly string[];
  /** Threads of all workers together; by default the CPUs that this process may use. */
  readonly threads?: number;
  /** Python interpreter; by default OCTAVO_PYTHON, then the package's own `.venv`, then `python3`. */
  readonly python?: string;
  /** Aborting it while workers start ends them; afterwards it has no effect. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: {
    readonly stage: "workers";
    readonly done: number;
    readonly total: number;
  }) => void;
  /** Lines that a worker writes to stdout or stderr. */
  readonly onLog?: (device: string, line: string) => void;
  /** Milliseconds from the start of a worker process to its hello. Default 60,000. */
  readonly startDeadlineMs?: number;
  /** Milliseconds that workers have to finish when the pool is disposed. Default 5,000. */
  readonly stopDeadlineMs?: number;
}

export class Pool {
  /** In the order of `PoolOptions.devices`. */
  readonly devices: readonly Device[];
  readonly #channel: Channel;
  readonly #shared: SharedMemory | undefined;
  readonly #workers: readonly Worker[];
  #disposed: Promise<void> | undefined;

  private constructor(channel: Channel, shared: SharedMemory | undefined, workers: readonly Worker[]) {
    this.#channel = channel;
    this.#shared = shared;
    this.#workers = workers;
    let lastHandle = 0;
    const newHandle = () => {
      lastHandle += 1;
      return lastHandle;
    };
    this.devices = workers.map((worker) => new Device(worker, newHandle, shared));
  }

  /**
   * Starts one worker per device, all at once; all or none.
   * Throws `OCTAVO_BAD_ARGUMENT`, `OCTAVO_WORKER_START_FAILED`, `OCTAVO_MISSING_DEPENDENCY`, or the signal's reason.
   */
  static async start(options: PoolOptions = {}): Promise<Pool> {
    const names = parseDeviceNames(options.devices ?? "auto");
    const threads = threadsOf(options.threads);
    const functions = [...(options.ops ?? [])];
    for (const name of functions) checkFunction(name);
    options.signal?.throwIfAborted();
    const channel = await Channel.open();
    const shared = SharedMemory.open();
    const shares = shareCores(threads, names.length);
    let done = 0;
    const abort = new AbortController(); // One failure ends the others' start.
    const signal = options.signal === undefined ? abort.signal : AbortSignal.any([options.signal, abort.signal]);
    const starts = names.map(async (device, index) => {
      try {
        const worker = await Worker.start({
          channel,
          device,
          threads: shares[index]!,
          epoch: index + 1,
          functions,
          sharedFolder: shared?.folder,
          python: options.python,
          startDeadlineMs: options.startDeadlineMs ?? 60_000,
          stopDeadlineMs: options.stopDeadlineMs ?? 5_000,
          signal,
          onLog: options.onLog,
        });
        done += 1;
        options.onProgress?.({ stage: "workers", done, total: names.length });
        return worker;
      } catch (error) {
        abort.abort(error);
        throw error;
      }
    });
    const results = await Promise.allSettled(starts);
    const workers = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    if (workers.length === names.length) return new Pool(channel, shared, workers);
    await Promise.all(workers.map((worker) => worker.stop()));
    await channel.close();
    shared?.close();
    throw abort.signal.reason;
  }

  /** The device of this name. Throws `OCTAVO_BAD_ARGUMENT` with the names there are. */
  device(name: string): Device {
    const device = this.devices.find((candidate) => candidate.name === name);
    if (device !== undefined) return device;
    const names = this.devices.map((candidate) => candidate.name).join(", ");
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `no device ${name} in this pool; there are ${names}`);
  }

  /** Lets workers finish what they have been asked, then ends them. Every handle of the pool is gone afterwards. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #dispose(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    for (const device of this.devices) device.ledger.releaseAll();
    await this.#channel.close();
    this.#shared?.close();
  }
}

function threadsOf(given: number | undefined): number {
  if (given === undefined) return usableCores();
  if (Number.isSafeInteger(given) && given >= 1 && given <= 1024) return given;
  throw new OctavoError("OCTAVO_BAD_ARGUMENT", `threads is ${given}; it takes a whole number from 1 to 1024`);
}

function checkFunction(name: string): void {
  if (/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?$/.test(name) && name.length <= 256) return;
  const text = `"${name}" in ops is not a Python module or function; write "my_ops" or "my_ops:rotate"`;
  throw new OctavoError("OCTAVO_BAD_ARGUMENT", text);
}
