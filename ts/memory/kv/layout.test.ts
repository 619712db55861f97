/** Bytes of a KV page. If these fail, a plan promises pages that there is no memory for, or refuses what would fit. */
import { expect, test } from "vitest";
import { buildModel, modelOfConfig } from "../../model/families/index.ts";
import { ProgramBuilder } from "../../program/builder.ts";
import { fuse } from "../../program/fuse.ts";
import { kvLayout, pageBytes } from "./layout.ts";

const CONFIG = {
  architectures: ["MistralForCausalLM"],
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 128,
  max_position_embeddings: 512,
  sliding_window: 24,
};

test.each([
  ["int16", 2],
  ["int8", 1],
] as const)("layers that hold the same %s are one group, whatever the number of pages, fused or not", (kv, bytes) => {
  const plain = { weights: "int8", head: "16bit", threshold: 6, headThreshold: "all" } as const;
  const options = { ...plain, context: 64, rows: 2 } as const;
  const build = (pages: number) =>
    buildModel(modelOfConfig("config.json", CONFIG), { ...options, kv, pages, output: { type: "sample" } });
  // K and V of 3 layers, 2 heads of 16 positions: 16 elements and a step of 4 bytes each.
  const group = { layers: 3, dtype: kv, bytesPerPage: 3 * 2 * 2 * 16 * (16 * bytes + 4), window: 24 };
  for (const program of [build(1), build(40), fuse(build(7))]) expect(kvLayout(program)).toEqual([group]);
  expect(pageBytes(kvLayout(build(5)))).toBe(group.bytesPerPage);
});

/** Layers of one head of 16 elements each. */
function layers(list: readonly { readonly kv: "int16" | "int8"; readonly window: number; readonly of?: number }[]) {
  const b = new ProgramBuilder();
  const q = b.input("q", "int32", ["T"]);
  const table = b.constant("table", new Float32Array(64), [4, 16]);
  const x = b.embed(q, table, { label: "embed" });
  const pages = b.input("pages", "int32", ["B", "J"]);
  const lengths = b.input("lengths", "int32", ["B"]);
  const starts = b.input("starts", "int32", ["B+1"]);
  for (const [i, { kv, window, of = i }] of list.entries()) {
    const keys = b.state(`layers.${of}.keys`, "kv", kv, [1, 1, 256]);
    const values = b.state(`layers.${of}.values`, "kv", kv, [1, 1, 256]);
    const steps = b.state(`layers.${of}.steps`, "kv", "float32", [1, 1, 32]);
    const attributes = { heads: 1, kvHeads: 1, headDim: 16, scale: 1, window };
    b.output(`y${i}`, b.attention({ q: x, keys, values, steps, pages, lengths, starts }, attributes, `attention${i}`));
  }
  return b.build();
}

test("windows and types make groups, and a layer that reads another's keys costs nothing", () => {
  const program = layers([
    { kv: "int16", window: 0 },
    { kv: "int16", window: 32 },
    { kv: "int16", window: 32 },
    { kv: "int8", window: 0 },
    { kv: "int16", window: 0, of: 0 },
  ]);
  expect(kvLayout(program)).toEqual([
    { layers: 1, dtype: "int16", bytesPerPage: 1152, window: 0 },
    { layers: 2, dtype: "int16", bytesPerPage: 2304, window: 32 },
    { layers: 1, dtype: "int8", bytesPerPage: 640, window: 0 },
  ]);
  expect(pageBytes(kvLayout(program))).toBe(1152 + 2304 + 640);
});

test("a state that no attention reads is an error: its bytes would be in no plan", () => {
  const program = layers([{ kv: "int16", window: 0 }]);
  expect(() => kvLayout({ ...program, ops: [] })).toThrow(
    "no attention reads the KV states layers.0.keys, layers.0.values, layers.0.steps",
  );
});
