/** Big payloads. If these fail, tensors arrive damaged, or only where /dev/shm is large. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { Pool } from "../ts/pool.ts";
import { SharedMemory } from "../ts/workers/shared-memory.ts";
import { DEVICE } from "./support/devices.ts";

afterEach(() => vi.restoreAllMocks());

/** Around the sizes where the way changes: a frame, one piece of shared memory, several pieces. */
const SIZES = [0, 1, 256 * 1024 - 4, 256 * 1024, 8 * 2 ** 20, 8 * 2 ** 20 + 4, 40 * 2 ** 20 + 12];

function pattern(bytes: number): Int32Array {
  return Int32Array.from({ length: bytes >> 2 }, (_, i) => Math.imul(i + bytes, 0x9e37_79b1));
}

async function expectRoundTrips(pool: Pool): Promise<void> {
  const device = pool.devices[0]!;
  const arrays = SIZES.map(pattern);
  // All at once: none may get another's bytes.
  const handles = await Promise.all(arrays.map((data) => device.tensor(data, { shape: [data.length] })));
  const contents = await Promise.all(handles.map((handle) => handle.read()));
  for (const [i, content] of contents.entries()) {
    expect(Buffer.compare(Buffer.from(content.buffer), Buffer.from(arrays[i]!.buffer))).toBe(0);
  }
}

test("a tensor that is disposed of while it is read is read whole", async () => {
  await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
  const data = pattern(60 * 2 ** 20);
  const x = await pool.devices[0]!.tensor(data, { shape: [data.length] });
  const content = x.read();
  const gone = x.dispose();
  expect(Buffer.compare(Buffer.from((await content).buffer), Buffer.from(data.buffer))).toBe(0);
  await gone;
  await expect(x.read()).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
  expect((await pool.devices[0]!.stats()).handleBytes).toBe(0);
});

describe("every size comes back as it was sent", () => {
  test("through shared memory", async () => {
    await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
    await expectRoundTrips(pool);
  });

  test("as frames, where there is no shared memory", async () => {
    vi.spyOn(SharedMemory, "open").mockReturnValue(undefined);
    await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
    await expectRoundTrips(pool);
  });

  test("as frames, where shared memory is full", async () => {
    vi.spyOn(SharedMemory.prototype, "take").mockReturnValue(undefined);
    await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
    await expectRoundTrips(pool);
  });
});
