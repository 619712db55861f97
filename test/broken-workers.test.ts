/** Workers that do not keep to the protocol. If these fail, a user's awaits hang for ever, or Node dies of one of them. */
import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, expect, test, vi } from "vitest";
import { Pool } from "../ts/pool.ts";
import { DEVICE } from "./support/devices.ts";

const support = join(import.meta.dirname, "support");
const python = join(support, "scripted-worker.mjs");
afterEach(() => vi.unstubAllEnvs());

function start(script: string, options: Parameters<typeof Pool.start>[0] = {}): Promise<Pool> {
  vi.stubEnv("SCRIPT", script);
  return Pool.start({ devices: DEVICE, threads: 1, python, ...options });
}

test("one that answers what nobody asked is stopped, and the request that it should have answered told why", async () => {
  await using pool = await start("another-answer");
  const device = pool.devices[0]!;
  await expect(device.stats()).rejects.toMatchObject({
    code: "OCTAVO_PROTOCOL",
    message: expect.stringContaining("does not wait for one"),
  });
  expect(device.lost.reason).toMatchObject({ code: "OCTAVO_WORKER_LOST" });
});

test("one that answers its end by progress for ever is ended", async () => {
  const pool = await start("unasked-progress");
  await pool.dispose();
});

/** A thread looks at its socket; while there was something to see, no timer ran, the one of the stop deadline neither. */
test("one whose load never ends is stopped at the stop deadline, in a thread too", async () => {
  vi.stubEnv("SCRIPT", "endless-progress");
  const thread = new Worker(join(support, "progress-in-thread.mjs"), { workerData: { devices: DEVICE, python } });
  expect(await once(thread, "message")).toEqual(["OCTAVO_DISPOSED"]);
  await thread.terminate();
});

test("one that prints a line without an end does not take Node along", async () => {
  const lines: string[] = [];
  let last = () => {};
  const ended = new Promise<void>((resolve) => {
    last = resolve;
  });
  const onLog = (_: string, line: string) => {
    lines.push(line.slice(-40));
    if (line === "the end") last();
  };
  await using _pool = await start("endless-line", { onLog });
  await ended;
  expect(lines).toEqual([expect.stringMatching(/\.\.\. \(\d+ more characters\)$/), "the end"]);
});
