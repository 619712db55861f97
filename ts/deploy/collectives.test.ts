/** Where ranks meet. If these fail, ranks meet in what others have left there, or nobody else can ever have the memory. */
import { readSync, writeSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OctavoError } from "../errors.ts";
import type { Device } from "../tensor/device.ts";
import { SharedMemory } from "../workers/shared-memory.ts";
import { Collectives } from "./collectives.ts";

const MiB = 2 ** 20;

/** A fake of a device: it notes what it is asked to join. */
class FakeDevice {
  readonly joined: unknown[] = [];
  readonly freed: number[] = [];
  readonly #lost = new AbortController();
  readonly lost = this.#lost.signal;
  readonly exited = Promise.resolve();
  readonly #refuses: boolean;

  constructor(refuses = false) {
    this.#refuses = refuses;
  }

  async join(rank: unknown): Promise<number> {
    if (this.#refuses) throw new OctavoError("OCTAVO_WORKER_FAILED", "no");
    this.joined.push(rank);
    return 7;
  }

  async free(handles: readonly { readonly id: number }[]): Promise<void> {
    this.freed.push(...handles.map(({ id }) => id));
  }

  lose(reason: OctavoError): void {
    this.#lost.abort(reason);
  }
}

const open = (shared: SharedMemory | undefined, bytes: number, ...devices: FakeDevice[]) =>
  Collectives.open(shared, devices as unknown as Device[], "model#1", bytes);

describe.runIf(process.platform === "linux")("a place to meet", () => {
  let shared: SharedMemory;
  beforeEach(() => {
    shared = SharedMemory.open()!;
  });
  afterEach(() => shared.close());

  const bytesAt = (offset: number, count: number) => {
    const bytes = new Uint8Array(count);
    readSync(shared.fd, bytes, 0, count, offset);
    return bytes;
  };
  /** The next one is given the memory that this one has given back. */
  const used = () => {
    const segment = shared.take(2 * MiB)!;
    writeSync(segment.fd, new Uint8Array(2 * MiB).fill(255), 0, 2 * MiB, segment.offset);
    shared.give(segment);
    return segment.offset;
  };

  it("is the same zeroed bytes for every rank", async () => {
    const offset = used();
    const devices = [new FakeDevice(), new FakeDevice()];
    const collectives = await open(shared, 2 * MiB, ...devices);
    const place = { ranks: 2, shared: { offset, bytes: 2 * MiB }, deadlineMs: expect.any(Number) };
    expect(devices.map(({ joined }) => joined)).toEqual([[{ rank: 0, ...place }], [{ rank: 1, ...place }]]);
    expect(bytesAt(offset, 2 * MiB).every((byte) => byte === 0)).toBe(true);
    await collectives.close();
    expect(shared.take(2 * MiB)!.offset).toBe(offset);
  });

  it("is broken, in memory that waiting ranks look at, when one of them is lost; the first reason counts", async () => {
    const [first, second] = [new FakeDevice(), new FakeDevice()];
    const collectives = await open(shared, MiB, first, second);
    const reason = new OctavoError("OCTAVO_WORKER_LOST", "cpu:1 is gone");
    second.lose(reason);
    expect([...bytesAt(0, 4)]).toEqual([1, 0, 0, 0]);
    collectives.abort(new OctavoError("OCTAVO_GROUP_BROKEN", "later"));
    expect(collectives.broken.reason).toBe(reason);
    await collectives.close();
    const next = shared.take(MiB)!;
    writeSync(next.fd, new Uint8Array(4), 0, 4, next.offset);
    first.lose(reason); // Whose memory it was.
    expect([...bytesAt(next.offset, 4)]).toEqual([0, 0, 0, 0]);
  });

  it("is given back by ranks of which one could not join", async () => {
    const [first, second] = [new FakeDevice(), new FakeDevice(true)];
    const offset = used();
    await expect(open(shared, 2 * MiB, first, second)).rejects.toMatchObject({ code: "OCTAVO_WORKER_FAILED" });
    expect(first.freed).toEqual([7]);
    expect(shared.take(2 * MiB)!.offset).toBe(offset);
  });

  it("is refused with what to do where there is no shared memory, or no room in it", async () => {
    const devices = [new FakeDevice(), new FakeDevice()];
    await expect(open(undefined, MiB, ...devices)).rejects.toMatchObject({
      code: "OCTAVO_NO_DEVICE",
      message: expect.stringMatching(/2 devices .*\/dev\/shm.* run it on one device/),
    });
    await expect(open(shared, 2 ** 50, ...devices)).rejects.toMatchObject({
      code: "OCTAVO_OUT_OF_MEMORY",
      message: expect.stringMatching(/no room for the .* in which 2 ranks meet.*--shm-size/),
    });
    expect(devices.flatMap(({ joined }) => joined)).toEqual([]);
  });
});
