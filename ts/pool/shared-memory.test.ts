import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readlinkSync, rmSync, statSync } from "node:fs";
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

test.runIf(existsSync("/dev/shm"))("the folder is this user's alone and goes with the pool", () => {
  const memory = open();
  expect(statSync(memory.folder).mode & 0o777).toBe(0o700);
  memory.take(100);
  memory.close();
  expect(existsSync(memory.folder)).toBe(false);
});

test.runIf(existsSync("/dev/shm"))("more than there is room for is refused, not promised", () => {
  expect(open().take(2 ** 50)).toBeUndefined();
});

test.runIf(existsSync("/dev/shm"))(
  "folders of dead processes are removed, those of living ones and of other namespaces are not",
  () => {
    const namespace = /\d+/.exec(readlinkSync("/proc/self/ns/pid"))![0];
    const { pid } = spawnSync("true"); // Ended and reaped: its id is free.
    const dead = `/dev/shm/octavo-${namespace}-${pid}-test`;
    const foreign = `/dev/shm/octavo-1${namespace}-${pid}-test`;
    const living = open();
    mkdirSync(dead);
    mkdirSync(foreign);
    try {
      open();
      expect(existsSync(dead)).toBe(false);
      expect(existsSync(foreign)).toBe(true);
      expect(existsSync(living.folder)).toBe(true);
    } finally {
      rmSync(foreign, { recursive: true });
    }
  },
);
