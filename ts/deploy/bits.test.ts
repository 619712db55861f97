/** What counts as the same bits. If these fail, replays blame ops for what nobody defines, or pass over what is wrong. */
import { describe, expect, it } from "vitest";
import { differenceOf, digestOf, type Result } from "./bits.ts";

const float32 = (...values: number[]): Result => ({
  ...{ operand: "y", dtype: "float32", shape: [values.length], data: Float32Array.from(values) },
});
const nan = (word: number): Result => ({ ...float32(0), data: new Float32Array(Uint32Array.of(word).buffer) });
const carries = (...rows: number[][]): Result => ({
  ...{ operand: "carries", dtype: "int32", shape: [rows.length, 6], data: Int32Array.from(rows.flat()) },
});

describe("results are the same", () => {
  it.each<[string, Result, Result]>([
    ["with other bits of NaN", nan(0x7fc0_0001), nan(0xffff_ffff)],
    ["with other numbers behind the listed groups", carries([1, 5, 5, 2, 7, 9]), carries([1, 5, 5, 2, 7, 0])],
    [
      "with 16-bit NaN of other bits",
      { ...float32(0), dtype: "float16", data: Uint16Array.of(0x7c01) },
      { ...float32(0), dtype: "float16", data: Uint16Array.of(0xfe00) },
    ],
  ])("%s", (_, a, b) => {
    expect(differenceOf(a, b)).toBeUndefined();
    expect(digestOf(a)).toBe(digestOf(b));
  });
});

describe("results differ", () => {
  it.each<[string, Result, Result, readonly number[]]>([
    ["where zero has another sign", float32(1, 0), float32(1, -0), [1]],
    ["where one is NaN and one infinite", nan(0x7fc0_0000), nan(0x7f80_0000), [0]],
    [
      "in a group that is listed",
      carries([0, 0, 0, 0, 0, 0], [1, 5, 5, 2, 7, 0]),
      carries([0, 0, 0, 0, 0, 0], [1, 5, 5, 2, 8, 0]),
      [1, 4],
    ],
  ])("%s", (_, a, b, at) => {
    expect(differenceOf(a, b)).toMatchObject({ at, differ: 1, of: a.data.length });
    expect(digestOf(a)).not.toBe(digestOf(b));
  });
});
