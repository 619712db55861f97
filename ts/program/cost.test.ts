import { expect, test } from "vitest";
import { DEMO_CONFIG, OPTIONS } from "../../test/support/model-options.ts";
import { buildModel, modelOfConfig } from "../model/families/index.ts";
import { ProgramBuilder } from "./builder.ts";
import { costOf, multiplyAdds } from "./cost.ts";
import { lower } from "./lower.ts";
import type { Program } from "./program.ts";
import { shard } from "./shard.ts";

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

const SIZES = { T: 4, S: 2, B: 2, J: 2, H: 0, D: 0, Q: 0 };
const ofRank = (program: Program) => costOf(lower(program, () => 1, SIZES).message);

test("a rank's product costs its own rows of the weight, and gathering what there is to copy", () => {
  const builder = new ProgramBuilder();
  const x = builder.input("x", "float32", ["T", 512]);
  const weight = builder.weight("w", { parts: [{ tensor: "w" }], shape: [96, 512], form: "float" });
  builder.output("y", builder.linear(x, weight, { label: "y" }));
  const perToken = shard(builder.build(), [2, 1]).map((rank) => ofRank(rank).perToken);
  expect(perToken).toEqual([64, 32].map((own) => own * 512 + 20 * own + 20 * 96));
});

test("a rank's attention costs its own heads", () => {
  const config = { ...DEMO_CONFIG, num_hidden_layers: 2, vocab_size: 1000 };
  const whole = buildModel(modelOfConfig("demo", config), OPTIONS);
  const one = ofRank(whole).perTokenPage;
  expect(shard(whole, [2, 1]).map((rank) => ofRank(rank).perTokenPage)).toEqual([(one * 2) / 3, one / 3]);
});
