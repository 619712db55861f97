import { existsSync, fstatSync, readdirSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { type Segment, SharedMemory } from "./shared-memory.ts";

const shared: SharedMemory[] = [];
function open(): SharedMemory {
  const opened = SharedMemory.open()!;
  shared.push(opened);
  return opened;
}
afterEach(() => {
  for (const one of shared.splice(0)) one.close();
});
const MIB = 2 ** 20;
const shm = test.runIf(existsSync("/dev/shm"));

shm("segments are used again, and none by two payloads at once", () => {
  const memory = open();
  const segments = [1000, MIB, 3 * MIB].map((bytes) => memory.take(bytes)!);
  const ends = segments.map(({ offset, bytes }) => [offset, offset + bytes]);
  expect(ends).toEqual([
    [0, MIB],
    [MIB, 2 * MIB],
    [2 * MIB, 5 * MIB],
  ]);
  memory.give(segments[0]!);
  expect(memory.take(MIB)!.offset).toBe(0);
  memory.give(segments[1]!);
  memory.give(segments[2]!);
  expect(memory.take(4 * MIB)!.offset).toBe(MIB); // Neighbours become one again.
});

shm("memory of large payloads goes back to the system", () => {
  const memory = open();
  const segments: Segment[] = [];
  for (let count = 0; count < 20; count++) segments.push(memory.take(8 * MIB)!);
  expect(fstatSync(memory.fd).size).toBe(160 * MIB);
  for (const segment of segments) memory.give(segment);
  expect(fstatSync(memory.fd).size).toBe(64 * MIB);
  expect(memory.take(64 * MIB)!.offset).toBe(0);
});

shm("nothing of it has a name, so nothing can stay behind", () => {
  open().take(100);
  expect(readdirSync("/dev/shm").filter((name) => name.includes(`-${process.pid}-`))).toEqual([]);
});

shm("a segment that is in use outlives the pool's end", () => {
  const memory = open();
  const segment = memory.take(100)!;
  memory.close();
  expect(fstatSync(segment.fd).size).toBe(MIB);
  memory.give(segment);
  expect(() => fstatSync(segment.fd)).toThrow("EBADF");
});

shm("more than there is room for is refused, not promised", () => {
  expect(open().take(2 ** 50)).toBeUndefined();
});
