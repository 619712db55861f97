import { expect, test } from "vitest";
import { Suspects } from "./suspects.ts";

const [a, b, c] = [{ name: "a" }, { name: "b" }, { name: "c" }];

test("who is lost in company is never blamed, and alone only once two workers are lost with it in a row", () => {
  const suspects = new Suspects();
  for (let loss = 0; loss < 10; loss += 1) expect(suspects.lost([a, b])).toBeUndefined();
  expect(suspects.lost([a])).toBeUndefined();
  expect(suspects.lost([b])).toBeUndefined();
  expect(suspects.lost([a])).toBe(a);
});

test("a request that kills two workers by itself ends with the second", () => {
  const suspects = new Suspects();
  expect([suspects.lost([a]), suspects.lost([a])]).toEqual([undefined, a]);
});

test("a token between two losses makes the second one the first", () => {
  const suspects = new Suspects();
  for (let loss = 0; loss < 10; loss += 1) {
    expect(suspects.lost([a])).toBeUndefined();
    suspects.clear(a);
  }
  suspects.lost([a, b]);
  suspects.clear(a);
  suspects.lost([a, b]);
  expect([a, b].map((request) => suspects.runsAlone(request))).toEqual([false, true]);
});

test("after one loss all go on together; those lost twice go on alone and first, whom a worker was lost with before them", () => {
  const suspects = new Suspects();
  suspects.lost([a, b, c]);
  expect(suspects.inOrder([a, b, c])).toEqual([a, b, c]);
  expect([a, b, c].map((request) => suspects.runsAlone(request))).toEqual([false, false, false]);
  suspects.clear(a);
  suspects.lost([a, b, c]);
  expect(suspects.inOrder([a, b, c])).toEqual([b, c, a]);
  suspects.lost([c]);
  expect(suspects.inOrder([a, b, c])).toEqual([c, b, a]);
});

test("a loss while nothing of the engine was computed blames nobody", () => {
  const suspects = new Suspects();
  expect(suspects.lost([])).toBeUndefined();
});
