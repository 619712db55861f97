/** Tensors on a device from Node: if these fail, `device.tensor`, ops on handles or `read` give wrong numbers or wrong errors. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Pool } from "../ts/pool.ts";
import type { Device } from "../ts/tensor/device.ts";
import { toFloat16 } from "../ts/tensor/float16.ts";
import { DEVICES } from "./support/devices.ts";

describe.each(DEVICES)("%s", (name) => {
  let pool: Pool;
  let device: Device;
  beforeAll(async () => {
    pool = await Pool.start({ devices: [name, name.replace(":0", ":1")], threads: 2 });
    device = pool.devices[0]!;
  });
  afterAll(() => pool.dispose());

  test.each([
    ["float32", Float32Array.of(1.5, -2, 0, 3e38)],
    ["float16", Uint16Array.of(0x3c00, 0xbc00, 0, 0x7bff)],
    ["bfloat16", Uint16Array.of(0x3f80, 0xbf80, 0, 0x7f7f)],
    ["int8", Int8Array.of(-128, 127, 0, 1)],
    ["int16", Int16Array.of(-32_768, 32_767, 0, 1)],
    ["int32", Int32Array.of(-(2 ** 31), 2 ** 31 - 1, 0, 1)],
    ["int64", BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n, 0n, 1n)],
  ] as const)("%s comes back as it was sent", async (dtype, data) => {
    await using x = await device.tensor(data, { shape: [2, 2], dtype });
    expect(x.dtype).toBe(dtype);
    expect(await x.read()).toEqual(data);
  });

  test("numbers and Float32Array are rounded to a 16-bit dtype", async () => {
    await using x = await device.tensor([1, 1 + 2 ** -11, -0.1], { shape: [3], dtype: "float16" });
    expect(await x.read()).toEqual(toFloat16([1, 1, -0.1]));
    await using y = await device.tensor(Float32Array.of(1, 3), { shape: [2], dtype: "bfloat16" });
    expect(await y.readFloats()).toEqual(Float32Array.of(1, 3));
  });

  test("megabytes come back whole, and empty tensors are tensors", async () => {
    const data = Float32Array.from({ length: 5_000_003 }, (_, i) => i);
    await using x = await device.tensor(data, { shape: [data.length] });
    expect(Buffer.compare(Buffer.from((await x.read()).buffer), Buffer.from(data.buffer))).toBe(0);
    await using empty = await device.zeros({ shape: [0, 7] });
    expect(await empty.read()).toEqual(new Float32Array(0));
  });

  test("part of a tensor is overwritten by write with an offset", async () => {
    await using x = await device.zeros({ shape: [4], dtype: "int32" });
    await device.write(x, Int32Array.of(7, 8), 4);
    expect(await x.read()).toEqual(Int32Array.of(0, 7, 8, 0));
    await expect(device.write(x, Int32Array.of(1), 16)).rejects.toMatchObject({ code: "OCTAVO_SHAPE_MISMATCH" });
  });

  test("an int8 linear equals the sums that integers give", async () => {
    // Values that int8 holds exactly: rows with absmax 127 have step 1, so the product is the plain integer product.
    const x = [127, -3, 5, 0, 1, 2, -127, 64];
    const w = [127, 1, -2, 3, 0, 127, 50, -50, -127, 127, 4, 5];
    const expected = [0, 1].flatMap((m) =>
      [0, 1, 2].map((n) => [0, 1, 2, 3].reduce((sum, k) => sum + x[4 * m + k]! * w[4 * n + k]!, 0)),
    );
    await using xs = await device.tensor(Float32Array.from(x), { shape: [2, 4] });
    await using weight = await device.quantize(Float32Array.from(w), { shape: [3, 4] });
    expect(await weight.codes.read()).toEqual(Int8Array.from(w));
    expect(await weight.scale.read()).toEqual(Float32Array.of(127, 127, 127));
    await using y = await xs.linear(weight, { threshold: 0 });
    expect(y.shape).toEqual([2, 3]);
    expect(await y.read()).toEqual(Float32Array.from(expected));
    await using bias = await device.tensor([0.5, 1, -1], { shape: [3] });
    await using shifted = await xs.linear(weight, { threshold: 0, bias });
    expect(await shifted.read()).toEqual(Float32Array.from(expected, (v, i) => v + [0.5, 1, -1][i % 3]!));
    for (const options of [{ threshold: 6 }, { threshold: "all" }, {}, { mode: "published", threshold: 0 }] as const) {
      await using other = await xs.linear(weight, options);
      // Loose on purpose: the modes round activations of these rows by up to half a step of 1 (four terms of at most 127).
      const values = await other.read();
      for (const [i, value] of values.entries()) expect(Math.abs(value - expected[i]!)).toBeLessThan(4 * 127);
    }
  });

  test("a float linear is the fma chain", async () => {
    await using x = await device.tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] });
    await using w = await device.tensor([1, 0, -1, 2, 2, 2], { shape: [2, 3], dtype: "float16" });
    await using y = await x.linear(w);
    expect(await y.read()).toEqual(Float32Array.of(-2, 12, -2, 30));
  });

  test("other ops as methods give the values of their formula", async () => {
    await using a = await device.tensor([1, -2, 3, 4], { shape: [2, 2] });
    await using b = await device.tensor([10, 20, 30, 40], { shape: [2, 2] });
    await using sum = await a.add(b);
    expect(await sum.read()).toEqual(Float32Array.of(11, 18, 33, 44));
    await using relu = await a.activate({ activation: "relu" });
    expect(await relu.read()).toEqual(Float32Array.of(1, 0, 3, 4));
    await using gated = await a.glu(b, { activation: "relu" });
    expect(await gated.read()).toEqual(Float32Array.of(10, 0, 90, 160));
    await using index = await device.tensor(Int32Array.of(1, 1, 0), { shape: [3] });
    await using rows = await a.rows(index);
    expect(await rows.read()).toEqual(Float32Array.of(3, 4, 3, 4, 1, -2));
    await using gathered = await b.embed(index, { scale: 2 });
    expect(await gathered.read()).toEqual(Float32Array.of(60, 80, 60, 80, 20, 40));
    await using half = await a.cast("float16");
    expect(await half.readFloats()).toEqual(Float32Array.of(1, -2, 3, 4));
    await using ones = await device.tensor([1, 1], { shape: [2] });
    await using normed = await a.norm(ones, { eps: 0 });
    const rms = [Math.sqrt(2.5), Math.sqrt(12.5)];
    // float32: one rounding each for 1/sqrt and the product, 2^-24 relative each.
    const values = await normed.read();
    [1, -2, 3, 4].forEach((v, i) => {
      expect(values[i]).toBeCloseTo(v / rms[i >> 1]!, 6);
    });
    await using starts = await device.tensor(Int32Array.of(0, 2), { shape: [2] });
    await using mean = await a.pool(starts, { normalize: false });
    expect(await mean.read()).toEqual(Float32Array.of(2, 1));
    const digits = await b.quantize(0);
    expect(Object.keys(digits).sort()).toEqual(["carries", "high", "low", "step"]);
    await Promise.all(Object.values(digits).map((digit) => digit.dispose()));
    await using targets = await device.tensor(Int32Array.of(0, 1), { shape: [2] });
    const { nll, kl, top1 } = await a.score(targets);
    expect((await nll.read())[0]).toBeCloseTo(Math.log(1 + Math.exp(-3)), 5);
    await Promise.all([nll.dispose(), kl.dispose(), top1.dispose()]);
  });

  test("rotary positions, KV pages and attention as methods", async () => {
    // One head of two elements; position 1 turns by 90 degrees.
    await using x = await device.tensor([1, 0, 1, 0], { shape: [2, 2] });
    await using positions = await device.tensor(Int32Array.of(0, 1), { shape: [2] });
    await using cos = await device.tensor([1, 0], { shape: [2, 1] });
    await using sin = await device.tensor([0, 1], { shape: [2, 1] });
    await using turned = await x.rope({ positions, cos, sin }, { headDim: 2 });
    expect(await turned.read()).toEqual(Float32Array.of(1, 0, 0, 1));

    await using keys = await device.zeros({ shape: [2, 1, 32], dtype: "int16" });
    await using values = await device.zeros({ shape: [2, 1, 32], dtype: "int16" });
    await using steps = await device.zeros({ shape: [2, 1, 32] });
    await using v = await device.tensor([2047, 1, -4094, 6], { shape: [2, 2] });
    await using slots = await device.tensor(Int32Array.of(16, 17), { shape: [2] }); // The first two of page 1.
    await x.append({ v, slots, keys, values, steps }, { kvHeads: 1, headDim: 2 });
    // Pairs of positions side by side; the second row counts in twos.
    expect([...(await keys.read()).subarray(32, 36)]).toEqual([4095, 0, 4095, 0]);
    expect([...(await values.read()).subarray(32, 36)]).toEqual([2047, -2047, 1, 3]);
    expect([...(await steps.read()).subarray(32 + 16, 32 + 18)]).toEqual([1, 2]);
    await using pages = await device.tensor(Int32Array.of(1), { shape: [1, 1] });
    await using lengths = await device.tensor(Int32Array.of(2), { shape: [1] });
    await using starts = await device.tensor(Int32Array.of(0, 2), { shape: [2] });
    const cache = { keys, values, steps, pages, lengths, starts };
    const shape = { heads: 1, kvHeads: 1, headDim: 2 };
    await using y = await x.attention(cache, { ...shape, scale: 1 });
    // Equal keys weigh equally: the first query sees one of them, the second the mean of both; weights have 12 bits at least.
    for (const [index, value] of (await y.read()).entries())
      expect(Math.abs(value - [2047, 1, -1023.5, 3.5][index]!)).toBeLessThan(2 ** -12 * 4094);
    await using all = await x.attention(cache, { ...shape, scale: 0, causal: false });
    expect(await all.read()).toEqual(Float32Array.of(-1023.5, 3.5, -1023.5, 3.5));
    // 4 more for the key before the second query than for its own: e^4 as heavy.
    await using bias = await device.tensor([4, 0, 0], { shape: [1, 3] });
    await using tilted = await x.attention({ ...cache, bias }, { ...shape, scale: 0 });
    const near = (2047 * Math.exp(4) - 4094) / (Math.exp(4) + 1);
    expect(Math.abs((await tilted.read())[2]! - near)).toBeLessThan(2 ** -12 * 4094);
  });

  test("sampling as a method: greedy takes the largest logit", async () => {
    await using logits = await device.tensor([0, 5, 1, 7, 2, 3], { shape: [2, 3] });
    await using settings = await device.tensor([0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0], { shape: [2, 6] });
    await using counters = await device.tensor(Int32Array.of(0, 1, 0, 0, 0, -1, 0, 0, 1, 0, 0, 0, -1, 0), {
      shape: [2, 7],
    });
    await using historyStarts = await device.zeros({ shape: [3], dtype: "int32" });
    await using none = await device.zeros({ shape: [0], dtype: "int32" });
    await using biasValues = await device.zeros({ shape: [0] });
    await using masks = await device.zeros({ shape: [0, 1], dtype: "int32" });
    await using sampled = await device.zeros({ shape: [2], dtype: "int32" });
    const history = { historyStarts, history: none, biasStarts: historyStarts, biasIds: none, biasValues };
    const drawn = await logits.sample({ settings, counters, ...history, masks, sampled }, { maskWords: 1 });
    expect(await drawn.ids.read()).toEqual(Int32Array.of(1, 0));
    expect(await sampled.read()).toEqual(Int32Array.of(1, 0));
    expect((await drawn.logprob.read())[0]).toBeCloseTo(-Math.log(1 + Math.exp(-5) + Math.exp(-4)), 5);
    await Promise.all(Object.values(drawn).map((handle) => handle.dispose()));
  });

  test("any op of the table runs by name, and results may be used at once", async () => {
    await using x = await device.tensor([1, 2], { shape: [1, 2] });
    const { y } = await device.run("add", { a: x, b: x });
    const again = await device.run("add", { a: y, b: y });
    expect(await again.y.read()).toEqual(Float32Array.of(4, 8));
    await Promise.all([y.dispose(), again.y.dispose()]);
  });

  test("wrong use is an error with its code, before anything happens", async () => {
    const before = device.ledger.committed;
    await using x = await device.tensor([1, 2, 3, 4], { shape: [2, 2] });
    await using other = await device.tensor([1, 2, 3], { shape: [1, 3] });
    await using ids = await device.tensor(Int32Array.of(1), { shape: [1] });
    await using outside = await device.tensor(Int32Array.of(9), { shape: [1] });
    await using elsewhere = await pool.devices[1]!.tensor([1, 2, 3, 4], { shape: [2, 2] });
    await expect(x.add(other)).rejects.toMatchObject({ code: "OCTAVO_SHAPE_MISMATCH" });
    await expect(x.add(ids)).rejects.toMatchObject({ code: "OCTAVO_DTYPE_MISMATCH" });
    await expect(x.add(elsewhere)).rejects.toMatchObject({ code: "OCTAVO_WRONG_DEVICE" });
    await expect(device.run("nope" as "add", { a: x, b: x })).rejects.toMatchObject({ code: "OCTAVO_UNKNOWN_OP" });
    await expect(x.norm(x, { eps: -1 })).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
    await expect(x.rows(outside)).rejects.toMatchObject({
      code: "OCTAVO_BAD_ARGUMENT",
    });
    await expect(device.tensor([1, 2, 3], { shape: [2, 2] })).rejects.toMatchObject({ code: "OCTAVO_SHAPE_MISMATCH" });
    await expect(device.tensor([300], { shape: [1], dtype: "int8" })).rejects.toMatchObject({
      code: "OCTAVO_DTYPE_MISMATCH",
    });
    await expect(device.tensor(Uint16Array.of(1), { shape: [1] })).rejects.toMatchObject({
      code: "OCTAVO_DTYPE_MISMATCH",
    });
    await expect(device.tensor([1], { shape: [-1] })).rejects.toMatchObject({ code: "OCTAVO_SHAPE_MISMATCH" });
    await expect(device.zeros({ shape: [2 ** 45] })).rejects.toMatchObject({ code: "OCTAVO_OUT_OF_MEMORY" });
    const gone = await device.tensor([1], { shape: [1, 1] });
    await gone.dispose();
    await gone.dispose();
    await expect(gone.read()).rejects.toMatchObject({
      code: "OCTAVO_DISPOSED",
      message: expect.stringContaining(String(gone.id)),
    });
    await expect(gone.add(gone)).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
    expect(device.ledger.reserved).toBe(0);
    expect(device.ledger.committed).toBeGreaterThanOrEqual(before);
  });

  test("the ledger has every byte the worker holds, also after errors", async () => {
    const x = await device.tensor(new Float32Array(100), { shape: [10, 10] });
    const w = await device.quantize(new Float32Array(130).fill(1), { shape: [13, 10] });
    const y = await x.linear(w);
    await x.linear(y).catch(() => {});
    const held = await device.stats();
    expect(held.handleBytes).toBe(device.ledger.committed);
    expect(held.handles).toBe(device.ledger.entries().length);
    await Promise.all([x.dispose(), w.dispose(), y.dispose()]);
    const after = await device.stats();
    expect(after.handleBytes).toBe(device.ledger.committed);
    expect(held.handleBytes - after.handleBytes).toBe(x.bytes + w.codes.bytes + w.scale.bytes + y.bytes);
  });
});
