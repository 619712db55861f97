import { expect, test } from "vitest";
import { generate } from "./generate.ts";

test("generated files say what the contracts say, so that both languages agree", async () => {
  expect(await generate({ write: false })).toEqual([]);
});
