import { expect, test } from "vitest";
import { LruCache } from "./lru.ts";

test("what was not used for longest is forgotten", () => {
  const cache = new LruCache<string, number>(2);
  let made = 0;
  const get = (key: string) =>
    cache.get(key, () => {
      made += 1;
      return made;
    });
  expect([get("a"), get("b"), get("a"), get("c")]).toEqual([1, 2, 1, 3]);
  expect(cache.size).toBe(2);
  expect(get("a")).toBe(1);
  expect(get("b")).toBe(4);
});
