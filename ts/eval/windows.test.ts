import fc from "fast-check";
import { expect, it } from "vitest";
import { cutWindows } from "./windows.ts";

it("scores every token but the first of each window, once: a perplexity over other tokens compares with nothing", () => {
  fc.assert(
    fc.property(fc.nat(2000), fc.integer({ min: 2, max: 600 }), fc.integer({ min: 1, max: 200 }), (tokens, w, c) => {
      const scored = cutWindows(tokens, w, c).flatMap(({ from, scored }) =>
        Array.from({ length: scored }, (_, i) => from + i + 1),
      );
      const expected = Array.from({ length: tokens }, (_, i) => i).filter((i) => i % w !== 0);
      expect(scored).toEqual(expected);
    }),
  );
});

it("gives a step at most a chunk of tokens of one window", () => {
  fc.assert(
    fc.property(fc.nat(2000), fc.integer({ min: 2, max: 600 }), fc.integer({ min: 1, max: 200 }), (tokens, w, c) => {
      for (const { from, to, start } of cutWindows(tokens, w, c)) {
        expect(to - from).toBeLessThanOrEqual(c);
        expect(Math.floor((to - 1) / w) * w).toBe(start);
        expect(from).toBeGreaterThanOrEqual(start);
      }
    }),
  );
});
