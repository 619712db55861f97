/** `device.call`: PyTorch functions of the user. If these fail, own functions cannot be used, or more than was allowed. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Pool } from "../ts/pool.ts";
import type { Device } from "../ts/tensor/device.ts";
import { DEVICE } from "./support/devices.ts";

let pool: Pool;
let device: Device;
let pythonPath: string | undefined;

beforeAll(async () => {
  pythonPath = process.env.PYTHONPATH;
  process.env.PYTHONPATH = join(dirname(fileURLToPath(import.meta.url)), "support");
  pool = await Pool.start({ devices: DEVICE, ops: ["my_ops", "math:sqrt"], threads: 1 });
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

test.each(["float32", "float16", "bfloat16", "int8", "int16", "int32", "int64"] as const)(
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
  const [values, indices] = await device.call("my_ops:largest", [x], { count: 1 });
  expect([await values!.read(), await indices!.read()]).toEqual([
    Float32Array.of(2, 4, 6),
    BigInt64Array.of(1n, 1n, 1n),
  ]);
  await Promise.all([values!, indices!].map((part) => part.dispose()));
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
  await expect(device.call("math:sqrt", [])).rejects.toMatchObject({ message: expect.stringContaining("TypeError") });
  await expect(device.call("my_ops:rotate", [x], { angle: Number.NaN })).rejects.toMatchObject({
    code: "OCTAVO_BAD_ARGUMENT",
  });
  expect(await x.read()).toEqual(Float32Array.of(0));
});

test.each([
  ["exit", "SystemExit: enough"],
  ["interrupt", "KeyboardInterrupt"],
  ["generator", "GeneratorExit"],
])("a function that leaves by %s fails like any other, and the worker lives on", async (how, told) => {
  await using x = await device.zeros({ shape: [1] });
  await expect(device.call("my_ops:leaves", [x], { how })).rejects.toMatchObject({
    code: "OCTAVO_WORKER_FAILED",
    message: expect.stringContaining(`my_ops:leaves raised ${told}`),
  });
  expect(await x.read()).toEqual(Float32Array.of(0));
});

const NAN = Number.NaN;
test.each([
  ["bool", "int8", [2], Int8Array.of(1, 0)],
  ["uint8", "int32", [2], Int32Array.of(0, 255)],
  ["int16", "int16", [2], Int16Array.of(-(2 ** 15), 2 ** 15 - 1)],
  ["uint16", "int32", [2], Int32Array.of(0, 2 ** 16 - 1)],
  ["float64", "float32", [3], Float32Array.of(0.5, NAN, -Infinity)],
  ["numpy float32", "float32", [2, 2], Float32Array.of(2, 1, 4, 3)],
  ["numpy float64", "float32", [2], Float32Array.of(0.25, 3)],
  ["numpy bool", "int8", [2], Int8Array.of(1, 0)],
  ["numpy uint8", "int32", [3], Int32Array.of(0, 1, 2)],
  ["numpy uint64", "int64", [2], BigInt64Array.of(1n, 2n ** 63n - 1n)],
  ["big-endian", "int32", [2], Int32Array.of(1, -2)],
  ["numpy scalar", "float32", [], Float32Array.of(0.1)],
  ["True", "int8", [], Int8Array.of(1)],
  ["7", "int64", [], BigInt64Array.of(7n)],
  ["0.5", "float32", [], Float32Array.of(0.5)],
  ["transposed", "float32", [2, 2], Float32Array.of(1, 3, 2, 4)],
] as const)("a result of %s becomes %s, exactly", async (what, dtype, shape, values) => {
  await using x = await device.zeros({ shape: [1] });
  const [y] = await device.call("my_ops:returns", [x], { what });
  expect([y!.dtype, y!.shape]).toEqual([dtype, shape]);
  expect(await y!.read()).toEqual(values);
  await y!.dispose();
});

test.each([
  "inexact float64",
  "large float64",
  "large uint64",
  "0.1",
  "2**64",
  "text",
  "dict",
  "complex",
  "strings",
  "sparse",
  "a list in a list",
  "masked",
])("a result that no handle holds (%s) is refused with what is accepted", async (what) => {
  await using x = await device.zeros({ shape: [1] });
  const before = device.ledger.committed;
  await expect(device.call("my_ops:returns", [x], { what })).rejects.toMatchObject({
    code: "OCTAVO_DTYPE_MISMATCH",
    message: expect.stringMatching(/my_ops:returns returned .*float32, float16, bfloat16, int8, int16, int32, int64/),
  });
  expect((await device.stats()).handleBytes).toBe(before);
});

test.each([
  ["not_installed", "OCTAVO_BAD_ARGUMENT", "not_installed"],
  ["not_installed:anything", "OCTAVO_BAD_ARGUMENT", "not_installed"],
  ["exits_at_import", "OCTAVO_BAD_ARGUMENT", "exits_at_import cannot be imported: SystemExit: 3"],
  ["my_ops:missing", "OCTAVO_FUNCTION_NOT_ALLOWED", "my_ops has no function missing"],
])("a pool with ops that are not there (%s) does not start, and says which", async (name, code, told) => {
  await expect(Pool.start({ devices: DEVICE, threads: 1, ops: [name] })).rejects.toMatchObject({
    code,
    message: expect.stringContaining(told),
  });
});

test("the error of a worker's death has what it wrote then, not what it wrote before", async () => {
  // A line and an answer come by ways of their own: the line is there when it was handed on.
  let arrived = () => {};
  const said = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const onLog = (_: string, line: string) => line.includes("long ago") && arrived();
  await using other = await Pool.start({ devices: DEVICE, threads: 1, ops: ["my_ops"], onLog });
  const own = other.devices[0]!;
  const x = await own.zeros({ shape: [1] });
  await own.call("my_ops:says", [x], { text: "long ago" });
  await said;
  await expect(own.call("my_ops:fails", [x])).rejects.not.toMatchObject({
    message: expect.stringContaining("long ago"),
  });
  const died = own.call("my_ops:dies", [x]);
  await expect(died).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST", message: expect.stringContaining("dying") });
  await expect(died).rejects.not.toMatchObject({ message: expect.stringContaining("long ago") });
  const anew = await other.restart(own);
  await expect(anew.call("my_ops:fill", [x])).rejects.toMatchObject({
    code: "OCTAVO_WORKER_LOST",
    message: expect.stringContaining("was lost with an earlier worker"),
  });
});

test("a handle of another pool is told apart from one of another device", async () => {
  await using other = await Pool.start({ devices: DEVICE, threads: 1 });
  await using x = await other.devices[0]!.zeros({ shape: [1, 1] });
  await using own = await device.zeros({ shape: [1, 1] });
  const wrong = { code: "OCTAVO_WRONG_DEVICE", message: expect.stringContaining("belongs to another pool") };
  await expect(device.call("my_ops:fill", [x])).rejects.toMatchObject(wrong);
  await expect(own.add(x)).rejects.toMatchObject(wrong);
});
