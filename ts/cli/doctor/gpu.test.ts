/** If these fail, a user with a GPU is not told why it stays idle. */
import { expect, test } from "vitest";
import type { Gpu } from "../../workers/gpus.ts";
import { describeGpus } from "./gpu.ts";

const H100: Gpu = {
  name: "NVIDIA H100",
  uuid: "GPU-1",
  total: 80 * 2 ** 30,
  free: 79 * 2 ** 30,
  capability: "9.0",
  driver: "580.65.06",
};

test("no GPU is no fault", () => {
  expect(describeGpus([], false)).toMatchObject({ ok: false, needed: false, detail: expect.stringContaining("CPU") });
});

test("a GPU without a working driver: what to do, and how to go on without it", () => {
  expect(describeGpus([], true).fix).toMatch(/driver.*OCTAVO_DEVICE=cpu:0/);
});

test("each GPU has the name that --devices takes, its memory, and the driver's version", () => {
  const { ok, detail } = describeGpus([{ ...H100, capability: "7.5", name: "Tesla T4" }, H100], true);
  expect(ok).toBe(true);
  expect(detail).toMatch(/cuda:1 NVIDIA H100, compute capability 9.0, 79.00 GiB of 80.00 GiB free; driver 580/);
});

test("a GPU that is too old for the kernels is said to be", () => {
  expect(describeGpus([{ ...H100, capability: "7.5" }], true)).toMatchObject({
    ok: false,
    fix: expect.stringMatching(/8\.0/),
  });
});
