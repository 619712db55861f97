import { expect, test } from "vitest";
import { ProgramBuilder } from "./builder.ts";
import { costOf, multiplyAdds } from "./cost.ts";
import { lower } from "./lower.ts";

test("a product costs its rows times its weight, whatever its other elements cost", () => {
  const builder = new ProgramBuilder();
  const x = builder.input("x", "float32", ["T", 512]);
  const source = { type: "state", kind: "io" } as const;
  const weight = builder.parameter({ name: "w", dtype: "float16", layout: "packed", shape: [1024, 512], source });
  builder.output("y", builder.call("linear_float", { x, weight }, {}, { label: "y" }).y);
  const sizes = { T: 100, S: 1, B: 1, J: 1, H: 0, D: 0, Q: 0 };
  const cost = costOf(lower(builder.build(), () => 1, sizes).message);
  expect(multiplyAdds(cost, sizes)).toBe(100 * 1024 * 512 + 100 * 1024 * 20);
});
