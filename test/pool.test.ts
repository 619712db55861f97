/** What a pool promises about its processes. If these fail, a user's Node hangs, dies, or leaves workers behind. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Pool } from "../ts/pool.ts";
import { ProgramBuilder } from "../ts/program/builder.ts";
import { lower } from "../ts/program/lower.ts";
import { packInputs, unpackOutputs } from "../ts/program/payload.ts";
import { shareCores, usableCores } from "../ts/workers/cores.ts";
import { DEVICES } from "./support/devices.ts";

test.each(DEVICES)("a program runs on %s, several steps in flight", async (name) => {
  await using pool = await Pool.start({ devices: name, threads: 1 });
  const device = pool.devices[0]!;
  const [weight] = await device.allocate([
    { dtype: "float32", layout: "plain", shape: [4], kind: "weight", owner: "test" },
  ]);
  await device.write(weight!, Float32Array.of(1, 2, 3, 4));
  const builder = new ProgramBuilder();
  const x = builder.input("x", "float32", ["T", 4]);
  const y = builder.add(x, x);
  builder.output("y", y);
  const limits = { T: 8, S: 0, B: 0, J: 0, H: 0, D: 0, Q: 0 };
  const lowered = lower(builder.build(), () => 0, limits);
  const [arena] = await device.allocate([
    { dtype: "int8", layout: "plain", shape: [Math.max(64, lowered.arenaBytes)], kind: "arena", owner: "test" },
  ]);
  const program = await device.define(lowered, "test", { arena });
  const steps = [1, 2, 3].map(async (rows) => {
    const sizes = { ...limits, T: rows };
    const payload = packInputs(lowered, sizes, { x: new Float32Array(rows * 4).fill(rows) });
    const result = await program.step(sizes, payload);
    return unpackOutputs(lowered, sizes, result.payload).y;
  });
  expect(await Promise.all(steps)).toEqual([1, 2, 3].map((rows) => new Float32Array(rows * 4).fill(2 * rows)));
  const statistics = await device.stats();
  expect(statistics.steps).toBe(3);
  expect(statistics.handleBytes).toBe(device.ledger.committed);
});

test("the cpu worker starts without torch, which would cost seconds and hundreds of megabytes", async () => {
  await using pool = await Pool.start({ devices: "cpu:0" });
  const device = pool.devices[0]!;
  expect(device.description).toMatchObject({ device: "cpu:0", backend: "cpu" });
  expect(device.description.isas).toContain(device.description.isa);
  expect(device.description.baseline).toBeLessThan(100 * 2 ** 20);
  if (process.platform === "linux") expect(readFileSync(`/proc/${device.pid}/maps`, "utf8")).not.toContain("torch");
});

test("two workers of one machine share its cores, and progress tells of each", async () => {
  const seen: number[] = [];
  const onProgress = ({ done, total }: { done: number; total: number }) => seen.push(done / total);
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  await using pool = await Pool.start({ devices: "cpu:0,cpu:1", threads: 1000, onProgress, onWarning });
  const cores = usableCores();
  const threads = pool.devices.map((device) => device.description.threads);
  // More threads than CPUs would wait for each other: 64 on 2 CPUs make 0.3 tokens/s.
  expect(threads).toEqual(shareCores(cores, 2));
  expect(warnings).toEqual([`threads is 1000; this process may use ${cores} CPUs, so ${cores} threads run`]);
  expect(seen).toEqual([0.5, 1]);
  expect(pool.device("cpu:1")).toBe(pool.devices[1]);
  expect(() => pool.device("cpu:2")).toThrow("cpu:0, cpu:1");
});
