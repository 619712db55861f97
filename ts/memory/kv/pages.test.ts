/** Who holds which page. If these fail, two answers write over each other's keys, or memory is lost until a restart. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type PageId, PagePool, pagesFor } from "./pages.ts";

test("free and used pages always add up, a page is given out once, and it is free again with its last reference", () => {
  const operation = fc.record({ kind: fc.constantFrom("take", "take", "share", "release"), pick: fc.nat() });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(operation, { maxLength: 120 }), (total, operations) => {
      const pool = new PagePool(total);
      const held: PageId[] = [];
      for (const { kind, pick } of operations) {
        if (kind === "take") {
          const full = pool.free === 0;
          const page = pool.take();
          expect(page === undefined).toBe(full);
          if (page === undefined) continue;
          expect(held).not.toContain(page);
          expect(page >= 0 && page < total).toBe(true);
          held.push(page);
        } else if (held.length > 0) {
          const index = pick % held.length;
          if (kind === "share") pool.share(held[index]!);
          if (kind === "share") held.push(held[index]!);
          else pool.release(held.splice(index, 1)[0]!);
        }
        expect(pool.used).toBe(new Set(held).size);
        expect(pool.free + pool.used).toBe(total);
        for (let page = 0; page < total; page++)
          expect(pool.references(page as PageId)).toBe(held.filter((other) => other === page).length);
      }
    }),
  );
});

test("a page given back once too often, or shared when nobody holds it, is an error and changes nothing", () => {
  const pool = new PagePool(4);
  const page = pool.take()!;
  pool.release(page);
  expect(() => pool.release(page)).toThrow(/not in use/);
  expect(() => pool.share(page)).toThrow(/not in use/);
  expect(() => pool.release(4 as PageId)).toThrow("page 4 is not in use");
  expect([pool.free, pool.used]).toEqual([4, 0]);
});

test("a page holds 16 positions", () => {
  expect([0, 1, 16, 17].map(pagesFor)).toEqual([0, 1, 1, 2]);
});
