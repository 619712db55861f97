/** Rows and columns of tensors in files. If these fail, devices that share a model load other weights than one that has all of it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MAX_PARTS } from "../protocol/messages.ts";
import { sourceParts } from "../ts/deploy/source-parts.ts";
import type { Manifest } from "../ts/model/source/manifest.ts";
import { readSafetensors } from "../ts/model/source/safetensors.ts";
import { Pool } from "../ts/pool.ts";
import type { Range, TensorPart } from "../ts/program/program.ts";
import type { Device } from "../ts/tensor/device.ts";
import { DEVICES } from "./support/devices.ts";
import { writeSafetensors } from "./support/safetensors-writer.ts";

const [E, N, K] = [128, 3, 70];
const EXPERTS = Float32Array.from({ length: E * N * K }, (_, i) => Math.sin(i) * (1 + (i % 7)));
const BIAS = Float32Array.from({ length: K }, (_, i) => i);
let folder: string;
let manifest: Manifest;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "octavo-slices-"));
  const path = join(folder, "model.safetensors");
  await writeSafetensors(path, "F32", [
    { name: "experts", shape: [E, N, K], data: EXPERTS },
    { name: "bias", shape: [K], data: BIAS },
  ]);
  const { tensors } = await readSafetensors(path);
  manifest = { path, format: "safetensors", tensors, config: {}, tokenizer: undefined };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const rowsOf = (expert: number): Range => [expert * N, (expert + 1) * N];

describe.each(DEVICES)("on %s", (name) => {
  let pool: Pool;
  let device: Device;
  beforeAll(async () => {
    pool = await Pool.start({ devices: name, threads: 2 });
    device = pool.devices[0]!;
  });
  afterAll(() => pool?.dispose());

  async function quantised(parts: readonly TensorPart[], rows: number, columns: number) {
    const owner = "test";
    const [target] = await device.allocate([
      { dtype: "int8", layout: "packed", shape: [rows, columns], kind: "weight", owner },
    ]);
    const [scale] = await device.allocate([{ dtype: "float32", layout: "plain", shape: [rows], kind: "scale", owner }]);
    await device.load([{ form: "int8", target: target!, scale: scale!, parts: sourceParts(parts, manifest) }]);
    return { codes: (await target!.read()) as Int8Array, scale: (await scale!.read()) as Float32Array };
  }

  it("the columns of two devices are those of one, with the scales of whole rows", async () => {
    const whole = await quantised([{ tensor: "experts" }], E * N, K);
    const left = await quantised([{ tensor: "experts", columns: [0, 33] }], E * N, 33);
    const right = await quantised([{ tensor: "experts", columns: [33, K] }], E * N, K - 33);
    const row = (codes: Int8Array, index: number, width: number) => codes.subarray(index * width, (index + 1) * width);
    for (let i = 0; i < E * N; i++)
      expect([...row(left.codes, i, 33), ...row(right.codes, i, K - 33)]).toEqual([...row(whole.codes, i, K)]);
    expect(left.scale).toEqual(whole.scale);
    expect(right.scale).toEqual(whole.scale);
  });

  it("thousands of parts, in any order, are one tensor", async () => {
    const experts = Array.from({ length: 40 * E }, (_, i) => (i * 5) % E);
    const parts = experts.map((expert) => ({ tensor: "experts", rows: rowsOf(expert) }));
    const whole = await quantised([{ tensor: "experts" }], E * N, K);
    const { codes, scale } = await quantised(parts, parts.length * N, K);
    for (const [index, expert] of experts.entries()) {
      const from = (array: Int8Array | Float32Array, first: number, each: number) =>
        Buffer.from(array.slice(first * each, (first + 1) * each).buffer);
      expect(from(codes, index, N * K).equals(from(whole.codes, expert, N * K))).toBe(true);
      expect(from(scale, index, N).equals(from(whole.scale, expert, N))).toBe(true);
    }
  });

  it("a vector is one row; progress counts the rows that are read", async () => {
    await using target = await device.zeros({ shape: [20 + K] });
    const taken: TensorPart[] = [
      { tensor: "bias", columns: [40, 60] },
      { tensor: "experts", rows: [7, 8] },
    ];
    const told: [number, number][] = [];
    await device.load([{ form: "float", target, parts: sourceParts(taken, manifest) }], {
      onProgress: (done, total) => told.push([done, total]),
    });
    expect(await target.read()).toEqual(Float32Array.of(...BIAS.slice(40, 60), ...EXPERTS.slice(7 * K, 8 * K)));
    expect(told.at(-1)).toEqual([2 * K * 4, 2 * K * 4]);
  });

  it("too many parts, and ranges that are none, are refused before anything is loaded", async () => {
    await using target = await device.zeros({ shape: [K] });
    const load = (parts: unknown) => device.load([{ form: "float", target, parts: parts as never }]);
    const [part] = sourceParts([{ tensor: "bias" }], manifest);
    const many = Array.from({ length: MAX_PARTS + 1 }, () => part);
    await expect(load(many)).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
    for (const rowRange of [5, ["0", "1"], [0, 1.5], [0n, 1n]])
      await expect(load([{ ...part, rowRange }])).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
    await expect(load([{ ...part, rowRange: [0, 2] }])).rejects.toMatchObject({ code: "OCTAVO_SHAPE_MISMATCH" });
    await expect(load([{ ...part, columnRange: [0] }])).rejects.toMatchObject({ code: "OCTAVO_PROTOCOL" });
    expect(await target.read()).toEqual(new Float32Array(K));
  });
});

describe("what a parameter takes of a tensor", () => {
  it.each([
    [{ tensor: "experts", rows: [382, 385] }, "rows 382 to 385 are not inside experts [128, 3, 70]: 384 rows of 70"],
    [{ tensor: "experts", columns: [0, 71] }, "columns 0 to 71 are not inside experts"],
    [{ tensor: "bias", rows: [1, 2] }, "rows 1 to 2 are not inside bias [70]: 1 rows of 70"],
    [{ tensor: "bias", columns: [3, 3] }, "columns 3 to 3"],
    [{ tensor: "bias", columns: [-1, 3] }, "columns -1 to 3"],
    [{ tensor: "bias", columns: [0, 1.5] }, "columns 0 to 1.5"],
  ] satisfies [TensorPart, string][])("%j is refused by name", (part, message) => {
    const error = { code: "OCTAVO_SHAPE_MISMATCH", message: expect.stringContaining(message) };
    expect(() => sourceParts([part], manifest)).toThrow(expect.objectContaining(error));
  });

  it("of a tensor that is not there is refused by name", () => {
    const error = { code: "OCTAVO_MODEL_INCOMPLETE", message: expect.stringContaining("the tensor router is missing") };
    expect(() => sourceParts([{ tensor: "router" }], manifest)).toThrow(expect.objectContaining(error));
  });
});
