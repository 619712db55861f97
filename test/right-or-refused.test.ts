/**
 * Products of random shapes are right or refused. If these fail, a wrong K (or rows, or outputs) that padding or packing hides
 * gives numbers without a word.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Pool } from "../ts/pool.ts";
import type { Threshold } from "../ts/program/threshold.ts";
import type { Device } from "../ts/tensor/device.ts";
import type { TensorHandle } from "../ts/tensor/handle.ts";
import type { QuantizedWeight } from "../ts/tensor/quantized.ts";
import { DEVICES } from "./support/devices.ts";

/** Around every size at which a padded or packed form changes: groups of 4, panels of 16, rows of 64. */
const width = fc.oneof(
  fc.integer({ min: 1, max: 20 }),
  fc.integer({ min: 60, max: 68 }),
  fc.constantFrom(127, 128, 129),
);
/** Mostly the right size. */
const slip = fc.constantFrom<number>(0, 0, 0, 0, 0, -1, 1, 2, 64);
const thresholds = fc.constantFrom<Threshold>(0, 6, 100, "adaptive", "all");
const call = fc.record({
  rows: fc.integer({ min: 0, max: 5 }),
  columns: width,
  outputs: fc.integer({ min: 1, max: 20 }),
  weightColumns: slip,
  biasOutputs: fc.option(slip),
  scaleOutputs: slip,
  operandRows: slip,
  operandColumns: slip,
  first: fc.constantFrom("none", "add", "glu"),
  product: fc.constantFrom("exact", "published", "float", "digits", "glu_quantize"),
  threshold: thresholds,
  seed: fc.nat(),
});
type Call = typeof call extends fc.Arbitrary<infer C> ? C : never;

/** Whole numbers of -127..127 with a 127 in each row: rows have the step 1, so a product without decomposition is exact. */
function wholeRows(rows: number, columns: number, seed: number): Float32Array {
  const values = Float32Array.from({ length: rows * columns }, (_, i) => ((i * 7919 + seed * 31) % 255) - 127);
  for (let row = 0; row < rows; row++) values[row * columns + (seed % columns)] = 127;
  return values;
}

/** What the call means, in plain numbers: operands, product, bias. Undefined where shapes do not fit. */
function expected(c: Call, x: Float32Array, w: Float32Array, bias: Float32Array | undefined) {
  const usesOperand = c.first !== "none" || c.product === "glu_quantize";
  if (c.weightColumns !== 0 || (usesOperand && (c.operandRows !== 0 || c.operandColumns !== 0))) return undefined;
  if (bias !== undefined && bias.length !== c.outputs) return undefined;
  // Digits on their own, and a scale of their own: only these calls name the scale.
  if ((c.product === "digits" || c.product === "glu_quantize") && c.scaleOutputs !== 0) return undefined;
  return Array.from({ length: c.rows * c.outputs }, (_, i) => {
    const [m, n] = [Math.floor(i / c.outputs), i % c.outputs];
    let sum = bias?.[n] ?? 0;
    for (let k = 0; k < c.columns; k++) sum += x[m * c.columns + k]! * w[n * c.columns + k]!;
    return sum;
  });
}

describe.each(DEVICES)("%s", (name) => {
  let pool: Pool;
  let device: Device;
  beforeAll(async () => {
    pool = await Pool.start({ devices: name, threads: 1 });
    device = pool.devices[0]!;
  });
  afterAll(() => pool?.dispose());

  /** The call as a user would write it; `x` times one, plus zeros: the ops before the product change no number. */
  async function run(
    c: Call,
    made: { dispose(): Promise<void> }[],
    data: { x: Float32Array; w: Float32Array },
    bias?: Float32Array,
  ) {
    const keep = <T extends { dispose(): Promise<void> }>(one: T): T => {
      made.push(one);
      return one;
    };
    let x: TensorHandle = keep(await device.tensor(data.x, { shape: [c.rows, c.columns] }));
    const shape = [Math.max(0, c.rows + c.operandRows), Math.max(1, c.columns + c.operandColumns)];
    const filled = (value: number) => device.tensor(new Float32Array(shape[0]! * shape[1]!).fill(value), { shape });
    const added = bias && keep(await device.tensor(bias, { shape: [bias.length] }));
    const weightShape = [c.outputs, Math.max(1, c.columns + c.weightColumns)];
    if (c.first === "add") x = keep(await x.add(keep(await filled(0))));
    // relu(1) * x
    if (c.first === "glu") x = keep(await keep(await filled(1)).glu(x, { activation: "relu" }));
    if (c.product === "float")
      return keep(await x.linear(keep(await device.tensor(data.w, { shape: weightShape })), { bias: added }));
    const weight: QuantizedWeight = keep(await device.quantize(data.w, { shape: weightShape }));
    if (c.product === "published")
      return keep(await x.linear(weight, { mode: "published", threshold: 0, bias: added }));
    if (c.product === "exact") return keep(await x.linear(weight, { threshold: c.threshold, bias: added }));
    const digits =
      c.product === "digits"
        ? await x.quantize(c.threshold)
        : await device.run(
            "glu_quantize",
            { gate: keep(await filled(1)), up: x },
            { activation: "relu", decompose: "all" },
          );
    for (const digit of Object.values(digits)) keep(digit);
    const scale = keep(
      await device.tensor(new Float32Array(Math.max(0, c.outputs + c.scaleOutputs)).fill(127), {
        shape: [Math.max(0, c.outputs + c.scaleOutputs)],
      }),
    );
    const { y } = await device.run("linear_int8", { ...digits, weight: weight.codes, scale, bias: added });
    return keep(y);
  }

  test("a product of any shapes is right, or refused for its shapes", async () => {
    await fc.assert(
      fc.asyncProperty(call, async (c) => {
        const data = {
          x: wholeRows(c.rows, c.columns, c.seed % 97),
          w: wholeRows(c.outputs, Math.max(1, c.columns + c.weightColumns), c.seed % 89),
        };
        const biasLength = c.biasOutputs === null ? undefined : Math.max(0, c.outputs + c.biasOutputs);
        const bias = biasLength === undefined ? undefined : Float32Array.from({ length: biasLength }, (_, i) => i - 3);
        // A slip that cannot be made (no column left) is none.
        const fair = {
          ...c,
          weightColumns: Math.max(1 - c.columns, c.weightColumns),
          operandColumns: Math.max(1 - c.columns, c.operandColumns),
          operandRows: Math.max(-c.rows, c.operandRows),
        };
        const right = expected(fair, data.x, data.w, bias);
        const made: { dispose(): Promise<void> }[] = [];
        try {
          if (right === undefined) {
            await expect(run(fair, made, data, bias)).rejects.toMatchObject({ code: "OCTAVO_SHAPE_MISMATCH" });
            return;
          }
          const y = await run(fair, made, data, bias);
          expect(y.shape).toEqual([c.rows, c.outputs]);
          const values = await y.read();
          // Without decomposition all is whole numbers, but for what float32 does to scales of `published`. Else each activation is off by half a step at most: 127 / 32,512 where all
          // carry, 1 at most.
          const exact = c.product === "float" || (c.product !== "glu_quantize" && c.threshold === 0);
          const step = c.product === "glu_quantize" || c.threshold === "all" ? 127 / 32_512 : 1;
          const error = c.product === "published" ? 1e-5 : exact ? 0 : 0.51 * step + 1e-5;
          const room = error * 127 * c.columns;
          for (const [i, value] of right.entries())
            expect(Math.abs(Number(values[i]) - value)).toBeLessThanOrEqual(room);
        } finally {
          await Promise.all(made.map((one) => one.dispose()));
        }
      }),
      { numRuns: 150 },
    );
  });

  test("digits of other rows, or of another threshold, are not taken together", async () => {
    const rows = Float32Array.from({ length: 140 }, (_, i) => ((i * 37) % 11) - 5);
    await using x = await device.tensor(rows, { shape: [2, 70] });
    await using other = await device.tensor(rows.toReversed(), { shape: [2, 70] });
    await using w = await device.quantize(rows, { shape: [2, 70] });
    const own = await x.quantize("all");
    const weight = { weight: w.codes, scale: w.scale };
    for (const from of [await x.quantize(0), await other.quantize("all")]) {
      for (const mixed of [{ carries: from.carries }, { high: from.high }, { low: from.low }]) {
        const call = device.run("linear_int8", { ...own, ...mixed, ...weight });
        await expect(call).rejects.toMatchObject({
          code: "OCTAVO_BAD_ARGUMENT",
          message: expect.stringContaining("come from one quantize"),
        });
      }
      await Promise.all(Object.values(from).map((digit) => digit.dispose()));
    }
    const { y } = await device.run("linear_int8", { ...own, ...weight });
    await using linear = await x.linear(w, { threshold: "all" });
    expect(await y.read()).toEqual(await linear.read());
    await Promise.all([y, ...Object.values(own)].map((one) => one.dispose()));
  });

  test.each([
    [3, 2],
    [63, 64],
    [4096, 4095],
    [1, 2],
  ])("rows of %i times a weight of rows of %i: refused, in the words of x and w", async (columns, other) => {
    await using x = await device.tensor(new Float32Array(columns).fill(1), { shape: [1, columns] });
    await using w = await device.quantize(new Float32Array(other).fill(1), { shape: [1, other] });
    for (const options of [{}, { threshold: "all" }, { threshold: 0 }, { mode: "published" }] as const) {
      await expect(x.linear(w, options)).rejects.toMatchObject({
        code: "OCTAVO_SHAPE_MISMATCH",
        message: expect.stringContaining(`x [1, ${columns}] and w [1, ${other}] do not fit`),
      });
    }
    const digits = await x.quantize("all");
    await expect(device.run("linear_int8", { ...digits, weight: w.codes, scale: w.scale })).rejects.toMatchObject({
      code: "OCTAVO_SHAPE_MISMATCH",
      message: expect.stringMatching(
        `weight has shape \\[1, ${other}\\], expected \\[1, ${columns}\\].*K = ${columns} from carries`,
      ),
    });
    await Promise.all(Object.values(digits).map((digit) => digit.dispose()));
  });
});
