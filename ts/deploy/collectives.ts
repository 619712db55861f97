/**
 * Where the ranks of a model meet while they compute: a part of the memory that the workers of a pool share. Ranks wait there
 * for each other inside their steps, so whoever learns that one of them will not come sets a word that ends the wait.
 */
import { setMaxListeners } from "node:events";
import { writeSync } from "node:fs";
import { formatBytes } from "../bytes.ts";
import { OctavoError } from "../errors.ts";
import type { Device } from "../tensor/device.ts";
import type { Segment, SharedMemory } from "../workers/shared-memory.ts";

/**
 * How long a rank waits for another one that nobody says is lost: for ever, nearly. Losses and late steps are noticed here, and
 * set the word; a worker without its orchestrator ends by itself.
 */
const WAIT_MS = 86_400_000;
/** What is written at a time. */
const ZEROES = new Uint8Array(2 ** 20);

export class Collectives {
  readonly #shared: SharedMemory;
  readonly #segment: Segment;
  readonly #devices: readonly Device[];
  /** Of this group, on each rank. */
  readonly handles: readonly number[];
  readonly #broken = new AbortController();
  readonly #closing = new AbortController();
  #closed = false;

  private constructor(shared: SharedMemory, segment: Segment, devices: readonly Device[], handles: readonly number[]) {
    this.#shared = shared;
    this.#segment = segment;
    this.#devices = devices;
    this.handles = handles;
    setMaxListeners(0, this.#closing.signal); // One of each device.
  }

  /**
   * Makes these devices, rank 0 first, a group of so many stages that meets in `bytes` of their pool's memory. Its handles are in their ledgers under
   * `owner`; when they are freed, `close` gives the memory back. Throws `OCTAVO_NO_DEVICE` where there is no shared memory,
   * `OCTAVO_OUT_OF_MEMORY` where it has no room.
   */
  static async open(
    shared: SharedMemory | undefined,
    devices: readonly Device[],
    owner: string,
    bytes: number,
    stages = 1,
  ): Promise<Collectives> {
    const segment = take(shared, devices.length, bytes);
    const { offset } = segment;
    const several = stages > 1 ? { stages } : {};
    const all = { ranks: devices.length, ...several, shared: { offset, bytes }, deadlineMs: WAIT_MS };
    const made = devices.map((device, rank) => device.join({ rank, ...all }, owner));
    const results = await Promise.allSettled(made);
    const handles = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const collectives = new Collectives(shared!, segment, devices, handles);
    const failure = results.find((result) => result.status === "rejected");
    if (failure === undefined) {
      for (const { lost } of devices) collectives.#watch(lost);
      return collectives;
    }
    await Promise.allSettled(devices.map((device) => device.free(handles.map((id) => ({ id })))));
    await collectives.close();
    throw failure.reason;
  }

  /** Aborted, with its reason, when the ranks cannot go on together. */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  /** Ends the wait of every rank: their steps, and all later ones, fail with `OCTAVO_GROUP_BROKEN`. Only the first reason counts. */
  abort(reason: OctavoError): void {
    if (this.#closed || this.#broken.signal.aborted) return;
    writeSync(this.#segment.fd, Uint8Array.of(1, 0, 0, 0), 0, 4, this.#segment.offset);
    this.#broken.abort(reason);
  }

  /** Every rank has freed the group, or is lost: others may have the memory. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#closing.abort();
    // A process that is being killed may write to the very last.
    await Promise.all(this.#devices.map(({ lost, exited }) => (lost.aborted ? exited : undefined)));
    this.#shared.give(this.#segment);
  }

  #watch(lost: AbortSignal): void {
    const onLost = () => this.abort(lost.reason as OctavoError);
    if (lost.aborted) onLost();
    else lost.addEventListener("abort", onLost, { once: true, signal: this.#closing.signal });
  }
}

/** Zeroed memory that is really there: a page for which there is no room would end a worker in the middle of a step. */
function take(shared: SharedMemory | undefined, ranks: number, bytes: number): Segment {
  if (shared === undefined) {
    const text = `a model on ${ranks} devices needs memory that their workers share: those that dialled in share none, others need a /dev/shm that can be used`;
    throw new OctavoError("OCTAVO_NO_DEVICE", `${text}; run it on one device`);
  }
  const segment = shared.take(bytes);
  if (segment === undefined) throw noRoom(ranks, bytes);
  try {
    for (let done = 0; done < bytes; done += ZEROES.length)
      writeSync(segment.fd, ZEROES, 0, Math.min(ZEROES.length, bytes - done), segment.offset + done);
    return segment;
  } catch (cause) {
    shared.give(segment);
    throw noRoom(ranks, bytes, cause);
  }
}

function noRoom(ranks: number, bytes: number, cause?: unknown): OctavoError {
  const text = `/dev/shm has no room for the ${formatBytes(bytes)} in which ${ranks} ranks meet (and as much for others)`;
  return new OctavoError("OCTAVO_OUT_OF_MEMORY", `${text}; in Docker, --shm-size 1g gives it more`, { cause });
}
