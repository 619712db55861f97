import fc from "fast-check";
import { expect, test } from "vitest";
import { Line } from "./line.ts";

test("whoever waits longest is first, whoever has left in between", () => {
  fc.assert(
    fc.property(
      fc.array(fc.option(fc.integer({ min: -1, max: 30 }), { nil: undefined }), { maxLength: 200 }),
      (leaving) => {
        const line = new Line<number>();
        let waiting: number[] = [];
        for (const [arrival, pick] of leaving.entries()) {
          const gone = pick === undefined ? undefined : waiting[pick % Math.max(1, waiting.length)];
          if (pick === -1) {
            line.joinFirst(arrival);
            waiting.unshift(arrival);
          } else if (gone === undefined) {
            line.join(arrival);
            waiting.push(arrival);
          } else {
            line.leave(gone);
            line.leave(gone); // Leaving again changes nothing.
            waiting = waiting.filter((item) => item !== gone);
          }
          expect([line.first, line.size]).toEqual([waiting[0], waiting.length]);
        }
        for (const item of waiting) {
          expect(line.first).toBe(item);
          line.leave(item);
        }
        expect([line.first, line.size]).toEqual([undefined, 0]);
      },
    ),
  );
});
