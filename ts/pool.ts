/** The worker processes of one machine, one per device, and the channel they share. */
import { setMaxListeners } from "node:events";
import { badArgument, OctavoError } from "./errors.ts";
import { type DeviceName, isAuto, parseDeviceNames } from "./plan/devices.ts";
import { checkPoolOptions, type PoolOptions } from "./pool-options.ts";
import { checkPackage } from "./python.ts";
import { quoted } from "./quoted.ts";
import { Device } from "./tensor/device.ts";
import { emitWarning } from "./warnings.ts";
import { shareCores, usableCores } from "./workers/cores.ts";
import { checkDescriptors } from "./workers/descriptors.ts";
import { autoDevices } from "./workers/gpus.ts";
import { openLauncher } from "./workers/launchers/index.ts";
import type { Launcher } from "./workers/launchers/launcher.ts";
import type { SharedMemory } from "./workers/shared-memory.ts";
import { Worker } from "./workers/worker.ts";

/** What all workers of a pool share, and what one of them gets. */
interface Setup {
  readonly launcher: Launcher;
  readonly shared: SharedMemory | undefined;
  readonly names: readonly DeviceName[];
  /** Threads of each device. */
  readonly threads: readonly number[];
  readonly options: PoolOptions;
}

export class Pool {
  readonly #setup: Setup;
  readonly #workers: Worker[];
  readonly #devices: Device[];
  readonly #newHandle: () => number;
  /** Restarts under way by what was lost, and what ends them. */
  readonly #restarts = new Map<Device, Promise<Device>>();
  readonly #closing = new AbortController();
  #lastEpoch: number;
  #disposed: Promise<void> | undefined;

  private constructor(setup: Setup, workers: Worker[]) {
    this.#setup = setup;
    this.#workers = workers;
    this.#lastEpoch = workers.length;
    let lastHandle = 0;
    this.#newHandle = () => ++lastHandle;
    this.#devices = workers.map((worker) => new Device(worker, this.#newHandle, setup.shared));
  }

  /**
   * Starts one worker per device, all at once; all or none.
   * Throws `OCTAVO_BAD_ARGUMENT`, `OCTAVO_WORKER_START_FAILED`, `OCTAVO_MISSING_DEPENDENCY`, `OCTAVO_NO_DEVICE`, or the
   * signal's reason.
   */
  static async start(options: PoolOptions = {}): Promise<Pool> {
    checkPoolOptions(options);
    checkDescriptors("starting a worker", { pool: true, workers: 1 }); // All that follows reads files.
    const { devices = "auto", count = 1 } = options;
    const [first, ...others] = autoDevices();
    const threads = threadsOf(options);
    try {
      return await Pool.#start(parseDeviceNames(devices, first, count), threads, options);
    } catch (error) {
      if (others[0] === undefined || !isAuto(devices) || !isUnusable(error, count)) throw error;
      const instead = parseDeviceNames("auto", others[0], count);
      const names = instead.map(({ name }) => name).join(", ");
      (options.onWarning ?? emitWarning)(`${error.message}. Running on ${names}`, error.code);
      return await Pool.#start(instead, threads, options);
    }
  }

  static async #start(names: readonly DeviceName[], allThreads: number, options: PoolOptions): Promise<Pool> {
    const threads = shareCores(allThreads, names.length);
    options.signal?.throwIfAborted();
    if (names.length > 1) checkDescriptors(`starting ${names.length} workers`, { pool: true, workers: names.length });
    checkPackage();
    const { launcher: by = { type: "local" }, python, onLog, onProgress } = options;
    const onCompile = (done: number, total: number) => onProgress?.({ stage: "kernels", done, total });
    const launcher = await openLauncher(by, names, { python, onLog, onCompile });
    const setup: Setup = { launcher, shared: launcher.shared, names, threads, options };
    const failed = new AbortController(); // One failure ends the others' start.
    const signal = options.signal === undefined ? failed.signal : AbortSignal.any([options.signal, failed.signal]);
    setMaxListeners(0, signal); // One of each worker, until it is there.
    let done = 0;
    const starts = names.map(async (_, index) => {
      try {
        const worker = await startWorker(setup, index, index + 1, signal);
        done += 1;
        onProgress?.({ stage: "workers", done, total: names.length });
        return worker;
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    });
    const results = await Promise.allSettled(starts);
    const workers = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    if (workers.length === names.length) return new Pool(setup, workers);
    await close(setup, workers);
    throw failed.signal.reason;
  }

  /** In the order of `PoolOptions.devices`. */
  get devices(): readonly Device[] {
    return this.#devices;
  }

  /** @internal What its workers share. */
  get shared(): SharedMemory | undefined {
    return this.#setup.shared;
  }

  /**
   * A new worker in the place of a lost one; the same one for all who ask while it starts. The new device is empty: handles of
   * the lost one stay dead, and what its worker may still have sent is not taken for the new one's. Throws as `start` does,
   * and `OCTAVO_DISPOSED`.
   */
  async restart(lost: Device): Promise<Device> {
    const index = this.#devices.indexOf(lost);
    if (this.#disposed !== undefined) throw new OctavoError("OCTAVO_DISPOSED", "the pool is disposed");
    if (index < 0 || !lost.lost.aborted) {
      const text = `restart: ${lost instanceof Device ? lost.name : quoted(lost)} is not a lost device of this pool; only those can be started anew`;
      throw badArgument(text);
    }
    const under = this.#restarts.get(lost);
    if (under !== undefined) return await under;
    const restart = this.#restart(index).finally(() => this.#restarts.delete(lost));
    this.#restarts.set(lost, restart);
    return await restart;
  }

  async #restart(index: number): Promise<Device> {
    this.#lastEpoch += 1;
    const worker = await startWorker(this.#setup, index, this.#lastEpoch, this.#closing.signal);
    if (this.#disposed !== undefined) {
      await worker.stop();
      throw new OctavoError("OCTAVO_DISPOSED", "restart: the pool was disposed meanwhile");
    }
    this.#workers[index] = worker;
    const device = new Device(worker, this.#newHandle, this.#setup.shared);
    this.#devices[index] = device;
    return device;
  }

  /** The device of this name. Throws `OCTAVO_BAD_ARGUMENT` with the names there are. */
  device(name: string): Device {
    const device = this.devices.find((candidate) => candidate.name === name);
    if (device !== undefined) return device;
    const names = this.devices.map((candidate) => candidate.name).join(", ");
    throw badArgument(`no device ${quoted(name)} in this pool; there are ${names}`);
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
    this.#closing.abort(new OctavoError("OCTAVO_DISPOSED", "the pool was disposed while a worker started"));
    await Promise.allSettled(this.#restarts.values()); // Each stops the worker that it has started.
    await close(this.#setup, this.#workers);
    for (const device of this.#devices) device.ledger.releaseAll();
  }
}

function startWorker(setup: Setup, index: number, epoch: number, signal: AbortSignal | undefined): Promise<Worker> {
  const { launcher, names, threads, options } = setup;
  return Worker.start({
    launcher,
    index,
    device: names[index]!,
    threads: threads[index]!,
    epoch,
    functions: options.ops ?? [],
    startDeadlineMs: options.startDeadlineMs ?? 300_000,
    stepDeadlineMs: options.stepDeadlineMs,
    stopDeadlineMs: options.stopDeadlineMs ?? 5_000,
    signal,
  });
}

async function close({ launcher }: Setup, workers: readonly Worker[]): Promise<void> {
  await Promise.all(workers.map((worker) => worker.stop()));
  await launcher.close();
}

/** The devices are not for us, but nothing is broken. Who asks for more GPUs than there are does not want CPUs. */
function isUnusable(error: unknown, count: number): error is OctavoError {
  const codes = ["OCTAVO_MISSING_DEPENDENCY", ...(count === 1 ? ["OCTAVO_NO_DEVICE"] : [])];
  return OctavoError.isInstance(error) && codes.includes(error.code);
}

/** Threads beyond the CPUs wait for each other at every barrier of a step: 64 on 2 CPUs make 0.3 tokens/s. */
function threadsOf({ threads: given, onWarning = emitWarning }: PoolOptions): number {
  const usable = usableCores();
  if (given === undefined) return usable;
  if (given > usable) onWarning(`threads is ${given}; this process may use ${usable} CPUs, so ${usable} threads run`);
  return Math.min(given, usable);
}
