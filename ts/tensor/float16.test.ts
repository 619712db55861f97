import fc from "fast-check";
import { expect, test } from "vitest";
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from "./float16.ts";

const all = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i);

test("every 16-bit float survives the way through float32", () => {
  const isNan = (exponent: number, fraction: number) => (v: number) =>
    (v & exponent) === exponent && (v & fraction) !== 0;
  const same = (values: Uint16Array, back: Uint16Array, nan: (v: number) => boolean) =>
    values.every((v, i) => (nan(v) ? nan(back[i]!) : v === back[i]));
  expect(same(all, toFloat16(fromFloat16(all)), isNan(0x7c00, 0x3ff))).toBe(true);
  expect(same(all, toBfloat16(fromBfloat16(all)), isNan(0x7f80, 0x7f))).toBe(true);
});

test("rounding is to nearest, ties to even, also at the edges", () => {
  const half = (...values: number[]) => [...fromFloat16(toFloat16(values))];
  expect(half(1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, -1e9)).toEqual([
    1,
    1 + 2 ** -9,
    65504,
    Infinity,
    -Infinity,
  ]);
  expect(half(2 ** -25, 2 ** -25 * 1.01, 3 * 2 ** -25, -0)).toEqual([0, 2 ** -24, 2 ** -23, -0]);
  const brain = (...values: number[]) => [...fromBfloat16(toBfloat16(values))];
  expect(brain(1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38, -Infinity)).toEqual([1, 1 + 2 ** -6, Infinity, -Infinity]);
  expect(brain(Number.NaN)[0]).toBeNaN();
});

test("no 16-bit float is nearer than the one chosen", () => {
  const finite = [...fromFloat16(all)].filter(Number.isFinite);
  fc.assert(
    fc.property(fc.float({ noNaN: true, min: -65504, max: 65504 }), (x) => {
      const chosen = Math.abs(fromFloat16(toFloat16([x]))[0]! - x);
      return finite.every((y) => chosen <= Math.abs(y - x));
    }),
    { numRuns: 50 },
  );
});
