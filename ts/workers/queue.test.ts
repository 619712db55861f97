import fc from "fast-check";
import { expect, test } from "vitest";
import { Queue } from "./queue.ts";

test("a queue gives what an array gives, in the same order", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat(), fc.constantFrom("shift" as const, "drain" as const))), (actions) => {
      const queue = new Queue<number>();
      const array: number[] = [];
      for (const action of actions) {
        if (action === "shift") expect(queue.shift()).toBe(array.shift());
        else if (action === "drain") expect(queue.drain()).toEqual(array.splice(0));
        else {
          queue.push(action);
          array.push(action);
        }
        expect([queue.length, queue.peek()]).toEqual([array.length, array[0]]);
      }
    }),
  );
});
