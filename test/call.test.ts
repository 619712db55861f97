/** `device.call`: PyTorch functions of the user. If these fail, own functions cannot be used, or more than was allowed. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Pool } from "../ts/pool/pool.ts";
import type { Device } from "../ts/tensor/device.ts";
import { DEVICE } from "./support/devices.ts";

let pool: Pool;
let device: Device;
let pythonPath: string | undefined;

beforeAll(async () => {
  pythonPath = process.env.PYTHONPATH;
  process.env.PYTHONPATH = join(dirname(fileURLToPath(import.meta.url)), "support");
  pool = await Pool.start({ devices: DEVICE, ops: ["my_ops", "math:sqrt", "not_installed"], threads: 1 });
  device = pool.devices[0]!;
});
afterAll(async () => {
  if (pythonPath === undefined) delete process.env.PYTHONPATH;
  else process.env.PYTHONPATH = pythonPath;
  await pool?.dispose();
});

test("a function gets torch tensors and options, and its result is a handle like any other", async () => {
  await using x = await device.tensor([1, 0, 0, 2], { shape: [2, 2] });
  const [y] = await device.call("my_ops:rotate", [x], { angle: Math.PI / 2 });
  expect(y!.shape).toEqual([2, 2]);
  const values = await y!.read();
  [0, 1, -2, 0].forEach((v, i) => {
    expect(Number(values[i])).toBeCloseTo(v, 6);
  });
  await using sum = await x.add(y!);
  expect((await sum.read())[1]).toBeCloseTo(1, 6);
  expect((await device.stats()).handleBytes).toBe(device.ledger.committed);
  await y!.dispose();
});

test.each(["float32", "float16", "bfloat16", "int8", "int32", "int64"] as const)(
  "writing to a %s argument in place changes the handle: it is the same memory",
  async (dtype) => {
    await using x = await device.zeros({ shape: [3], dtype });
    expect(await device.call("my_ops:fill", [x], { value: 1 })).toEqual([]);
    await using ones = await device.tensor([1, 1, 1], { shape: [3], dtype });
    expect(await x.read()).toEqual(await ones.read());
  },
);

test("a list of tensors becomes a list of handles, with the types of options kept", async () => {
  await using x = await device.tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2] });
  const parts = await device.call("my_ops:split", [x], { sizes: [1, 2] });
  expect(parts.map((part) => part.shape)).toEqual([
    [1, 2],
    [2, 2],
  ]);
  const [seen] = await device.call("my_ops:describe", [x], { note: "äh", loud: true });
  expect(await seen!.read()).toEqual(BigInt64Array.of(2n, 1n, 2n));
  await Promise.all([...parts, seen!].map((part) => part.dispose()));
});

test("only functions of the allow-list are called", async () => {
  await using x = await device.zeros({ shape: [1] });
  for (const name of ["os:system", "my_ops:_hidden", "my_ops:torch", "my_ops:nothing", "math:cos", "builtins:eval"]) {
    await expect(device.call(name, [x])).rejects.toMatchObject({ code: "OCTAVO_FUNCTION_NOT_ALLOWED" });
  }
  await expect(device.call("rotate", [x])).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
  await expect(Pool.start({ devices: DEVICE, ops: ["os.system('x')"] })).rejects.toMatchObject({
    code: "OCTAVO_BAD_ARGUMENT",
  });
});

test("a function that fails says so with the Python error, and the worker lives on", async () => {
  await using x = await device.zeros({ shape: [1] });
  await expect(device.call("my_ops:fails", [x])).rejects.toMatchObject({
    code: "OCTAVO_WORKER_FAILED",
    message: expect.stringContaining("ValueError: seven is not a shape"),
  });
  await expect(device.call("not_installed:anything", [x])).rejects.toMatchObject({
    message: expect.stringContaining("not_installed"),
  });
  await expect(device.call("math:sqrt", [x])).rejects.toMatchObject({ code: "OCTAVO_WORKER_FAILED" });
  await expect(device.call("my_ops:rotate", [x], { angle: Number.NaN })).rejects.toMatchObject({
    code: "OCTAVO_BAD_ARGUMENT",
  });
  expect(await x.read()).toEqual(Float32Array.of(0));
});
