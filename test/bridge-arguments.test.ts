/**
 * What JavaScript callers pass by mistake. If these fail, a typo is ignored, a string becomes NaN, or a TypeError from inside
 * says nothing about the call.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OctavoError } from "../ts/errors.ts";
import { Pool } from "../ts/pool.ts";
import type { Device } from "../ts/tensor/device.ts";
import type { TensorHandle } from "../ts/tensor/handle.ts";
import type { QuantizedWeight } from "../ts/tensor/quantized.ts";
import { DEVICE } from "./support/devices.ts";

// biome-ignore lint/suspicious/noExplicitAny: callers without types.
type Loose = any;

let pool: Pool;
let device: Device;
let x: TensorHandle;
let w: QuantizedWeight;
beforeAll(async () => {
  pool = await Pool.start({ devices: DEVICE, threads: 1 });
  device = pool.devices[0]!;
  x = await device.tensor([1, 2, 3, 4], { shape: [2, 2] });
  w = await device.quantize([1, 2, 3, 4], { shape: [2, 2] });
});
afterAll(() => pool?.dispose());

const { NaN: nan } = Number;
test.each<[string, (d: Loose, x: Loose, w: Loose) => Promise<unknown>, string, string]>([
  ["no shape", (d) => d.tensor([1]), "OCTAVO_BAD_ARGUMENT", "a shape is needed: device.tensor([1, 2], { shape: [2] })"],
  ["no options", (d) => d.zeros(), "OCTAVO_BAD_ARGUMENT", "a shape is needed"],
  ["options null", (d) => d.tensor([1], null), "OCTAVO_BAD_ARGUMENT", "options are null"],
  ["a shape for options", (d) => d.tensor([1], [1]), "OCTAVO_BAD_ARGUMENT", "options are [1]"],
  [
    "a misspelt key",
    (d) => d.tensor([1], { shpe: [1] }),
    "OCTAVO_BAD_ARGUMENT",
    "no option shpe; there are shape, dtype; did you mean shape?",
  ],
  [
    "a misspelt key beside others",
    (d) => d.tensor([1], { shape: [1], dytpe: "int8" }),
    "OCTAVO_BAD_ARGUMENT",
    "did you mean dtype?",
  ],
  [
    "a dtype that is none",
    (d) => d.tensor([1], { shape: [1], dtype: "float64" }),
    "OCTAVO_DTYPE_MISMATCH",
    'no dtype "float64"',
  ],
  [
    "a dtype of every object",
    (d) => d.zeros({ shape: [1], dtype: "toString" }),
    "OCTAVO_DTYPE_MISMATCH",
    'no dtype "toString"',
  ],
  ["strings", (d) => d.tensor(["a", "2"], { shape: [2] }), "OCTAVO_DTYPE_MISMATCH", 'element 0 is "a"'],
  ["strings of digits", (d) => d.tensor([1, "2"], { shape: [2] }), "OCTAVO_DTYPE_MISMATCH", 'element 1 is "2"'],
  ["undefined", (d) => d.tensor([1, undefined], { shape: [2] }), "OCTAVO_DTYPE_MISMATCH", "element 1 is undefined"],
  ["null", (d) => d.tensor([null], { shape: [1] }), "OCTAVO_DTYPE_MISMATCH", "element 0 is null"],
  // biome-ignore lint/suspicious/noSparseArray: what is tested.
  ["a hole", (d) => d.tensor([1, , 3], { shape: [3] }), "OCTAVO_DTYPE_MISMATCH", "element 1 is not there"],
  ["a bigint", (d) => d.tensor([1n], { shape: [1], dtype: "int64" }), "OCTAVO_DTYPE_MISMATCH", "BigInt64Array"],
  ["rows as lists", (d) => d.tensor([[1], [2]], { shape: [2, 1] }), "OCTAVO_DTYPE_MISMATCH", "element 0 is [1]"],
  ["no data", (d) => d.tensor(undefined, { shape: [1] }), "OCTAVO_DTYPE_MISMATCH", "undefined"],
  ["a Float64Array", (d) => d.tensor(Float64Array.of(1), { shape: [1] }), "OCTAVO_DTYPE_MISMATCH", "a Float64Array"],
  [
    "300 for int8",
    (d) => d.tensor([1, 300], { shape: [2], dtype: "int8" }),
    "OCTAVO_DTYPE_MISMATCH",
    "element 1 is 300",
  ],
  [
    "1.5 for int32",
    (d) => d.tensor([1.5], { shape: [1], dtype: "int32" }),
    "OCTAVO_DTYPE_MISMATCH",
    "element 0 is 1.5",
  ],
  ["beyond float32", (d) => d.tensor([1e39], { shape: [1] }), "OCTAVO_DTYPE_MISMATCH", "which float32 does not reach"],
  [
    "beyond float16",
    (d) => d.tensor(Float32Array.of(1, 65_520), { shape: [2], dtype: "float16" }),
    "OCTAVO_DTYPE_MISMATCH",
    "element 1 is 65520",
  ],
  [
    "beyond bfloat16",
    (d) => d.tensor([3.4e38], { shape: [1], dtype: "bfloat16" }),
    "OCTAVO_DTYPE_MISMATCH",
    "does not reach",
  ],
  [
    "a wrong length",
    (d) => d.tensor([1, 2], { shape: [3] }),
    "OCTAVO_SHAPE_MISMATCH",
    "2 elements do not fill the shape [3]",
  ],
  ["a shape that is none", (d) => d.zeros({ shape: 3 }), "OCTAVO_SHAPE_MISMATCH", "shape 3"],
  // biome-ignore lint/suspicious/noSparseArray: what is tested.
  ["a shape with a hole", (d) => d.zeros({ shape: [, 3] }), "OCTAVO_SHAPE_MISMATCH", "whole numbers"],
  [
    "NaN in a weight",
    (d) => d.quantize([1, nan], { shape: [1, 2] }),
    "OCTAVO_BAD_ARGUMENT",
    "row 0 of the weight holds NaN",
  ],
  ["a weight without a shape", (d) => d.quantize([1, 2]), "OCTAVO_BAD_ARGUMENT", "a shape is needed"],
  [
    "a shape for a tensor's",
    (d, a) => d.quantize(a, { shape: [4, 1] }),
    "OCTAVO_BAD_ARGUMENT",
    "leave the options out",
  ],
  ["a misspelt option", (_, a, b) => a.linear(b, { treshold: 6 }), "OCTAVO_BAD_ARGUMENT", "did you mean threshold?"],
  ["a mode that is none", (_, a, b) => a.linear(b, { mode: "publish" }), "OCTAVO_BAD_ARGUMENT", 'mode is "publish"'],
  ["half a threshold", (_, a, b) => a.linear(b, { threshold: { absolute: 6 } }), "OCTAVO_BAD_ARGUMENT", "threshold is"],
  [
    "a threshold of too much",
    (_, a, b) => a.linear(b, { threshold: { absolute: 6, relative: 6, row: 1 } }),
    "OCTAVO_BAD_ARGUMENT",
    "threshold is",
  ],
  [
    "a weight that is none",
    (_, a) => a.linear(undefined),
    "OCTAVO_BAD_ARGUMENT",
    "a tensor handle is needed, not undefined",
  ],
  ["a threshold of quantize", (_, a) => a.quantize(6n), "OCTAVO_BAD_ARGUMENT", "threshold is 6"],
  [
    "an attribute that is a function",
    (d, a) => d.run("glu", { gate: a, up: a }, { activation: () => "relu" }),
    "OCTAVO_BAD_ARGUMENT",
    "attribute activation",
  ],
  [
    "an attribute that is null",
    (d, a) => d.run("glu", { gate: a, up: a }, { activation: null }),
    "OCTAVO_BAD_ARGUMENT",
    "attribute activation is null",
  ],
  ["an operand that is null", (d, a) => d.run("add", { a, b: null }), "OCTAVO_BAD_ARGUMENT", "not null"],
  ["no operands", (d) => d.run("add"), "OCTAVO_BAD_ARGUMENT", "operands are undefined"],
  ["an operand too many", (d, a) => d.run("add", { a, b: a, c: a }), "OCTAVO_BAD_ARGUMENT", "no operand c"],
  ["the tensor itself again", (_, a) => a.attention({ q: a }, {}), "OCTAVO_BAD_ARGUMENT", "q is the tensor itself"],
  [
    "elements of another dtype",
    (d, a) => d.write(a, Int32Array.of(1, 2, 3, 4)),
    "OCTAVO_DTYPE_MISMATCH",
    "takes a Float32Array",
  ],
  ["numbers for bytes", (d, a) => d.write(a, [1, 2, 3, 4]), "OCTAVO_DTYPE_MISMATCH", "not a Array"],
  ["handles that are no list", (d, a) => d.call("m:f", a), "OCTAVO_BAD_ARGUMENT", "they take a list of tensors"],
  [
    "a limit that there is not",
    (d) => d.call("m:f", [], {}, { deadline: 5 }),
    "OCTAVO_BAD_ARGUMENT",
    "did you mean deadlineMs?",
  ],
  ["a deadline of nothing", (d) => d.call("m:f", [], {}, { deadlineMs: 0 }), "OCTAVO_BAD_ARGUMENT", "deadlineMs is 0"],
  // biome-ignore lint/suspicious/noSparseArray: what is tested.
  ["numbers with a hole", (d) => d.call("m:f", [], { sizes: [1, , 2] }), "OCTAVO_BAD_ARGUMENT", "option sizes"],
  ["too many at once", (d) => d.allocate(Array(65_537)), "OCTAVO_BAD_ARGUMENT", "up to 65536 tensors"],
])("%s: refused, in the words of the call", async (_, call, code, words) => {
  const before = device.ledger.entries().length;
  await expect(call(device, x, w)).rejects.toMatchObject({ code, message: expect.stringContaining(words) });
  expect(device.ledger.entries()).toHaveLength(before);
});

test("NaN and infinity that are meant stay what they are", async () => {
  for (const dtype of ["float32", "float16", "bfloat16"] as const) {
    await using y = await device.tensor([nan, Infinity, -Infinity], { shape: [3], dtype });
    expect(await y.readFloats()).toEqual(Float32Array.of(nan, Infinity, -Infinity));
  }
});

test.each<[string, Loose, string]>([
  ["a misspelt option", { device: DEVICE }, "Pool.start: there is no option device; there are devices,"],
  ["its nearest name", { device: DEVICE }, "did you mean devices?"],
  ["threads in words", { threads: "2" }, 'threads is "2"'],
  ["a function for ops", { ops: "my_ops" }, 'ops is "my_ops"'],
  ["no options", null, "options are null"],
  ["a device for options", DEVICE, "they take an object"],
  ["devices of numbers", { devices: [0] }, "devices is [0]"],
])("a pool is not started with %s", async (_, options, words) => {
  await expect(Pool.start(options)).rejects.toMatchObject({
    code: "OCTAVO_BAD_ARGUMENT",
    message: expect.stringContaining(words),
  });
});

describe("anything at all", () => {
  const anything = fc.oneof(
    fc.anything({
      withBigInt: true,
      withNullPrototype: true,
      withTypedArray: true,
      withSparseArray: true,
      maxDepth: 2,
    }),
    fc.constantFrom<Loose>(undefined, null, () => x, Symbol("s")),
    fc.constant("handle"),
  );
  const calls: Readonly<Record<string, (a: Loose, b: Loose, c: Loose) => unknown>> = {
    "device.tensor": (a, b) => (device as Loose).tensor(a, b),
    "device.zeros": (a) => (device as Loose).zeros(a),
    "device.quantize": (a, b) => (device as Loose).quantize(a, b),
    "device.run": (a, b, c) => (device as Loose).run("glu", a, b, c),
    "device.run of an op": (a, b, c) => (device as Loose).run(a, b, c),
    "device.write": (a, b, c) => (device as Loose).write(a, b, c),
    "device.call": (a, b, c) => (device as Loose).call(a, b, c),
    "device.load": (a, b) => (device as Loose).load(a, b),
    "device.load of an item": (a, b, c) =>
      (device as Loose).load([{ form: "float", target: x, scale: a, parts: b }], c),
    "device.allocate": (a) => (device as Loose).allocate(a),
    "pool.restart": (a) => (pool as Loose).restart(a),
    "Pool.start": (a) => (Pool as Loose).start({ devices: a, ops: a }),
    ...Object.fromEntries(
      ["linear", "quantize", "cast", "embed", "norm", "rope", "append", "attention", "glu", "activate", "add"]
        .concat(["rows", "pool", "sample", "score"])
        .map((name) => [`x.${name}`, (a: Loose, b: Loose) => (x as Loose)[name](a, b)]),
    ),
  };

  test.each(Object.keys(calls))("%s answers it, or refuses it with a code", async (name) => {
    await fc.assert(
      fc.asyncProperty(anything, anything, anything, async (...given) => {
        const [a, b, c] = given.map((value) => (value === "handle" ? x : value));
        let made: unknown;
        try {
          made = await calls[name]!(a, b, c); // In the same turn: also what is not thrown as a rejection.
        } catch (error) {
          if (!OctavoError.isInstance(error)) throw error;
          return;
        }
        const handles = [made].flat().flatMap((one) => Object.values((one ?? {}) as object).concat(one));
        for (const one of handles as Loose[]) if (one !== x && one?.dispose) await one.dispose();
      }),
      { numRuns: 60 },
    );
  });
});
