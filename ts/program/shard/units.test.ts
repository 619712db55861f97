import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { apportion, cutColumns, cutHeads } from "./units.ts";

const shares = fc.array(fc.double({ min: 0.01, max: 100, noNaN: true }), { minLength: 1, maxLength: 12 });

describe("apportion", () => {
  it("rounds the largest remainders up, and gives no rank nothing", () => {
    expect(apportion(10, [1, 1, 1])).toEqual([4, 3, 3]);
    expect(apportion(10, [2, 1])).toEqual([7, 3]);
    expect(apportion(9, [2, 1])).toEqual([6, 3]);
    expect(apportion(3, [100, 1, 1])).toEqual([1, 1, 1]);
    expect(apportion(5, [1, 100, 1])).toEqual([1, 3, 1]);
    expect(apportion(4, [0.3, 0.1])).toEqual([3, 1]);
  });

  it("gives away all units, each rank within one of its share unless that is less than one", () => {
    fc.assert(
      fc.property(shares, fc.nat(500), (given, more) => {
        const units = given.length + more;
        const counts = apportion(units, given);
        expect(counts.reduce((a, b) => a + b)).toBe(units);
        expect(Math.min(...counts)).toBeGreaterThanOrEqual(1);
        const total = given.reduce((a, b) => a + b);
        const wanted = given.map((share) => (units * share) / total);
        if (Math.min(...wanted) < 1) return;
        for (const [rank, count] of counts.entries()) expect(Math.abs(count - wanted[rank]!)).toBeLessThan(1 + 1e-9);
      }),
    );
  });
});

describe("cuts", () => {
  it("of columns cover them without gap or overlap", () => {
    fc.assert(
      fc.property(shares, fc.integer({ min: 1, max: 3000 }), (given, pieces) => {
        const cut = cutColumns(pieces, 16, given);
        if (cut === undefined) {
          expect(pieces).toBeLessThan(given.length);
          return;
        }
        expect(cut.ranges.map(([from]) => from)).toEqual([0, ...cut.ranges.slice(0, -1).map(([, to]) => to)]);
        expect(cut.ranges.at(-1)![1]).toBe(pieces);
        expect(cut.ranges.every(([from, to]) => from < to)).toBe(true);
        if (pieces > 16 * (given.length - 1)) expect(cut.ranges.every(([from]) => from % 16 === 0)).toBe(true);
      }),
    );
  });

  it("of heads cover them, and each rank has the kv heads of its heads and no others, evenly", () => {
    fc.assert(
      fc.property(shares, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 6 }), (given, kvHeads, group) => {
        const heads = kvHeads * group;
        fc.pre(given.length <= heads);
        const [q, kv] = cutHeads(heads, kvHeads, given, "attention");
        expect(q.ranges.map(([from]) => from)).toEqual([0, ...q.ranges.slice(0, -1).map(([, to]) => to)]);
        expect(q.ranges.at(-1)![1]).toBe(heads);
        for (const [rank, [from, to]] of q.ranges.entries()) {
          expect(kv.ranges[rank]).toEqual([Math.floor(from / group), Math.ceil(to / group)]);
          const [first, last] = kv.ranges[rank]!;
          expect((to - from) % (last - first)).toBe(0); // As `attention` asks.
          // Head h of a rank reads its kv head h // (heads / kvHeads), which is that of the whole.
          const own = (to - from) / (last - first);
          for (let h = from; h < to; h++) expect(first + Math.floor((h - from) / own)).toBe(Math.floor(h / group));
        }
      }),
    );
  });

  it("of heads give ranks that share a group heads by their shares", () => {
    const [q, kv] = cutHeads(16, 2, [1, 1, 2], "attention");
    expect(q.ranges).toEqual([
      [0, 4],
      [4, 8],
      [8, 16],
    ]);
    expect(kv.ranges).toEqual([
      [0, 1],
      [0, 1],
      [1, 2],
    ]);
  });
});
