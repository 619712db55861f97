import fc from "fast-check";
import { expect, test } from "vitest";
import { PagePool, pagesFor } from "./pages.ts";

test("free and used pages always add up, and no page has two owners", () => {
  const operation = fc.oneof(
    fc.record({ kind: fc.constant("take" as const), count: fc.nat(12) }),
    fc.record({ kind: fc.constant("release" as const), pick: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(operation, { maxLength: 60 }), (total, operations) => {
      const pool = new PagePool(total);
      const out: Int32Array[] = [];
      for (const step of operations) {
        if (step.kind === "take") {
          const free = pool.free;
          const pages = pool.take(step.count);
          expect(pages === undefined).toBe(step.count > free);
          if (pages) out.push(pages);
        } else if (out.length > 0) {
          pool.release(out.splice(step.pick % out.length, 1)[0]!);
        }
        const owned = out.flatMap((pages) => [...pages]);
        expect(new Set(owned).size).toBe(owned.length);
        expect(owned.every((page) => page >= 0 && page < total)).toBe(true);
        expect(pool.used).toBe(owned.length);
        expect(pool.free + pool.used).toBe(total);
      }
    }),
  );
});

test("a page given back twice is an error and changes nothing", () => {
  const pool = new PagePool(4);
  const pages = pool.take(2)!;
  expect(() => pool.release(Int32Array.of(pages[0]!, pages[0]!))).toThrow(/not in use/);
  expect(pool.used).toBe(2);
  pool.release(pages);
  expect(() => pool.release(pages)).toThrow(/not in use/);
  expect(pool.free).toBe(4);
});

test("a page holds 16 positions", () => {
  expect([0, 1, 16, 17].map(pagesFor)).toEqual([0, 1, 1, 2]);
});
