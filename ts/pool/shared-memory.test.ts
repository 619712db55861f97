import { existsSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { SharedMemory } from "./shared-memory.ts";

const shared: SharedMemory[] = [];
function open(): SharedMemory {
  const opened = SharedMemory.open()!;
  shared.push(opened);
  return opened;
}
afterEach(() => {
  for (const one of shared.splice(0)) one.close();
});

test.runIf(existsSync("/dev/shm"))("segments are used again, and none by two payloads at once", () => {
  const memory = open();
  const first = memory.take(1000)!;
  const second = memory.take(1000)!;
  expect(second.path).not.toBe(first.path);
  memory.give(first);
  expect(memory.take(2 ** 20)!.path).toBe(first.path);
  expect(memory.take(2 ** 21)!.bytes).toBeGreaterThanOrEqual(2 ** 21);
});

test.runIf(existsSync("/dev/shm"))("the folder goes with the pool", () => {
  const memory = open();
  memory.take(100);
  memory.close();
  expect(existsSync(memory.folder)).toBe(false);
});

test.runIf(existsSync("/dev/shm"))("more than there is room for is refused, not promised", () => {
  expect(open().take(2 ** 50)).toBeUndefined();
});
