/** Processes die. If these fail, a user's calls hang for ever, or memory stays taken by workers nobody owns. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { Pool } from "../ts/pool.ts";
import { DEVICE } from "./support/devices.ts";
import { isRunning, waitForEnd } from "./support/processes.ts";

const support = join(dirname(fileURLToPath(import.meta.url)), "support");
const second = DEVICE.replace(":0", ":1");
const two = [DEVICE, second];
let child: ChildProcess | undefined;
let lines: AsyncIterator<string> | undefined;
afterEach(() => child?.kill("SIGKILL"));

/** Another Node with a pool; its first line says what it has. */
async function held(...args: string[]): Promise<[string]> {
  const script = join(support, "hold-pool.ts");
  child = spawn(process.execPath, ["--import", "tsx", script, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return [String((await lines.next()).value)];
}

/** The promise is a second; a loaded machine gets some more before a test calls it broken. */
const LOSS_MS = 3000;
/** Likewise: two seconds. */
const ORPHAN_MS = 5000;

async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = globalThis.setTimeout(() => reject(new Error(`nothing within ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

test("a killed worker rejects everything pending, loudly; Node and the other devices go on", async () => {
  await using pool = await Pool.start({ devices: two, threads: 2 });
  const [dead, alive] = pool.devices;
  const x = await dead!.tensor([1, 2], { shape: [1, 2] });
  const y = await alive!.tensor([3, 4], { shape: [1, 2] });
  process.kill(dead!.pid, "SIGSTOP"); // So that the requests are pending for sure.
  const pending = [x.read(), x.add(x), dead!.stats()];
  process.kill(dead!.pid, "SIGKILL");
  const settled = await within(LOSS_MS, Promise.allSettled(pending));
  for (const result of settled) {
    expect(result).toMatchObject({ status: "rejected", reason: { code: "OCTAVO_WORKER_LOST", retryable: false } });
  }
  // Who was asked first has an error of its own, the others that of the loss: only the first can be why the worker is gone.
  const reasons = settled.map((result) => result.status === "rejected" && result.reason === dead!.lost.reason);
  expect(reasons).toEqual([false, true, true]);
  expect(dead!.lost.aborted).toBe(true);
  expect(dead!.lost.reason).toMatchObject({ code: "OCTAVO_WORKER_LOST", message: expect.stringContaining("SIGKILL") });
  expect(dead!.ledger.committed).toBe(0);
  await expect(x.read()).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST" });
  await x.dispose(); // Nothing is left to free; disposing is no error.
  expect(alive!.lost.aborted).toBe(false);
  const sum = await y.add(y);
  expect(await sum.read()).toEqual(Float32Array.of(6, 8));
});

test("what is asked of a worker at the moment it dies is told how it died", async () => {
  await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
  const device = pool.devices[0]!;
  process.kill(device.pid, "SIGKILL");
  const asked = Array.from({ length: 50 }, () => device.stats());
  for (const result of await within(LOSS_MS, Promise.allSettled(asked))) {
    expect(result).toMatchObject({
      reason: { code: "OCTAVO_WORKER_LOST", message: expect.stringContaining("SIGKILL") },
    });
  }
});

test("a lost device is started anew, empty, and old handles stay dead", async () => {
  await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
  const lost = pool.devices[0]!;
  const x = await lost.tensor([1], { shape: [1, 1] });
  await expect(pool.restart(lost)).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
  process.kill(lost.pid, "SIGKILL");
  await within(LOSS_MS, new Promise((resolve) => lost.lost.addEventListener("abort", resolve)));
  const device = await pool.restart(lost);
  expect(pool.devices).toEqual([device]);
  const y = await device.tensor([2], { shape: [1, 1] });
  expect(y.id).toBeGreaterThan(x.id);
  expect(await (await y.add(y)).read()).toEqual(Float32Array.of(4));
  await expect(y.add(x)).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST" });
  await expect(x.read()).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST" });
});

test("a worker that does not answer is stopped at the step's deadline", async () => {
  await using pool = await Pool.start({ devices: DEVICE, threads: 1, ops: ["time:sleep"] });
  const device = pool.devices[0]!;
  const x = await device.zeros({ shape: [1] });
  process.kill(device.pid, "SIGSTOP");
  const late = device.call("time:sleep", [x], { seconds: 1 }, { deadlineMs: 100 });
  const after = x.read();
  after.catch(() => {});
  await expect(within(LOSS_MS, late)).rejects.toMatchObject({
    code: "OCTAVO_STEP_TIMEOUT",
    message: expect.stringContaining("100 ms"),
  });
  await expect(after).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST" });
  await waitForEnd([device.pid], LOSS_MS);
});

test("signals that reach the whole process group leave the worker to its orchestrator", async () => {
  await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
  const device = pool.devices[0]!;
  const x = await device.tensor([1], { shape: [1, 1] });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const) process.kill(device.pid, signal);
  expect(await (await x.add(x)).read()).toEqual(Float32Array.of(2));
  expect(device.lost.aborted).toBe(false);
});

test("Node that was stopped for longer than a deadline has lost nobody", async () => {
  const [line] = await held(DEVICE);
  const { pids } = JSON.parse(line) as { pids: number[] };
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  child!.stdin!.write("\n");
  expect((await lines!.next()).value).toBe("asked");
  child!.kill("SIGSTOP");
  for (const pid of pids) process.kill(pid, "SIGCONT"); // They answer, and nobody is there to read it.
  await setTimeout(1500);
  child!.kill("SIGCONT");
  expect((await lines!.next()).value).toBe("answered");
  expect(pids.every(isRunning)).toBe(true);
});

test("killing Node leaves no worker behind, and nothing in shared memory or on disk", async () => {
  const [line] = await held(two.join(","));
  const { pids } = JSON.parse(line) as { pids: number[] };
  expect(pids).toHaveLength(2);
  const ended = once(child!, "exit");
  child!.kill("SIGKILL");
  await waitForEnd(pids, ORPHAN_MS);
  await ended;
  for (const root of ["/dev/shm", tmpdir(), "/tmp"].filter((folder) => existsSync(folder)))
    expect(readdirSync(root).filter((name) => name.includes(`-${child!.pid}-`))).toEqual([]);
});

test("an orderly stop finishes what was asked for, then ends the processes", async () => {
  const pool = await Pool.start({ devices: two, threads: 2 });
  const pids = pool.devices.map((device) => device.pid);
  const device = pool.devices[0]!;
  const x = await device.tensor([1, 2], { shape: [1, 2] });
  const read = x.read();
  const stopped = pool.dispose();
  expect(pool.dispose()).toBe(stopped);
  expect(await read).toEqual(Float32Array.of(1, 2));
  await stopped;
  await waitForEnd(pids, 100);
  await expect(x.read()).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
  await expect(device.stats()).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
  await x.dispose();
  expect(device.lost.aborted).toBe(false);
  expect(device.ledger.committed).toBe(0);
  const folders = existsSync("/dev/shm") ? readdirSync("/dev/shm") : [];
  expect(folders.filter((name) => name.includes(`-${process.pid}-`))).toEqual([]);
});

test("a worker that ignores the goodbye is ended by force", async () => {
  const pool = await Pool.start({ devices: DEVICE, threads: 1, stopDeadlineMs: 200 });
  const { pid } = pool.devices[0]!;
  process.kill(pid, "SIGSTOP");
  await within(LOSS_MS, pool.dispose());
  await waitForEnd([pid], 100);
});

test("two pools live side by side", async () => {
  const [one, other] = await Promise.all([
    Pool.start({ devices: DEVICE, threads: 1 }),
    Pool.start({ devices: DEVICE, threads: 1 }),
  ]);
  const x = await one.devices[0]!.tensor([1], { shape: [1, 1] });
  const y = await other.devices[0]!.tensor([2], { shape: [1, 1] });
  await one.dispose();
  expect(await y.read()).toEqual(Float32Array.of(2));
  await expect(y.add(x)).rejects.toMatchObject({ code: "OCTAVO_WRONG_DEVICE" });
  await other.dispose();
});
