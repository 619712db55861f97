import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import { quotaOf, shareCores, usableCores } from "./cores.ts";

test("a container's quota is read as CPUs", () => {
  expect(quotaOf("150000 100000\n")).toBe(1.5);
  expect(quotaOf("max 100000")).toBeUndefined();
  expect(quotaOf("-1 100000")).toBeUndefined();
  expect(quotaOf("undefined undefined")).toBeUndefined();
});

test("workers share the cores, none goes without, the first get the remainder", () => {
  expect(shareCores(8, 3)).toEqual([3, 3, 2]);
  expect(shareCores(2, 2)).toEqual([1, 1]);
  expect(shareCores(1, 3)).toEqual([1, 1, 1]);
});

test("never more threads than the process may use", () => {
  expect(usableCores()).toBeGreaterThanOrEqual(1);
  expect(usableCores()).toBeLessThanOrEqual(availableParallelism());
});
