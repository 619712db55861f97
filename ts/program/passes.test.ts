import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildModel, type ModelOptions } from "../model/families/index.ts";
import type { Manifest, TensorEntry } from "../model/source/manifest.ts";
import { arena, lifetimes } from "./arena.ts";
import { ProgramBuilder } from "./builder.ts";
import { fuse } from "./fuse.ts";
import { lower } from "./lower.ts";
import { packInputs, unpackOutputs } from "./payload.ts";
import type { Program } from "./program.ts";
import { elementsOf } from "./shapes.ts";

const LIMITS = { T: 32, S: 8, B: 8, J: 4, H: 16, D: 16, Q: 2 };

function manifest(
  layers: number,
  hidden: number,
  heads: number,
  kvHeads: number,
  ffn: number,
  vocab: number,
): Manifest {
  const tensors = new Map<string, TensorEntry>();
  const add = (name: string, ...shape: number[]) =>
    tensors.set(name, { name, file: "f", offset: 0, bytes: 0, type: "F16", shape });
  add("model.embed_tokens.weight", vocab, hidden);
  add("model.norm.weight", hidden);
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    add(`${layer}.input_layernorm.weight`, hidden);
    add(`${layer}.post_attention_layernorm.weight`, hidden);
    add(`${layer}.self_attn.q_proj.weight`, hidden, hidden);
    for (const name of ["k", "v"]) add(`${layer}.self_attn.${name}_proj.weight`, (hidden / heads) * kvHeads, hidden);
    add(`${layer}.self_attn.o_proj.weight`, hidden, hidden);
    for (const name of ["gate", "up"]) add(`${layer}.mlp.${name}_proj.weight`, ffn, hidden);
    add(`${layer}.mlp.down_proj.weight`, hidden, ffn);
  }
  const config = {
    architectures: ["LlamaForCausalLM"],
    hidden_size: hidden,
    intermediate_size: ffn,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    vocab_size: vocab,
    max_position_embeddings: 64,
    tie_word_embeddings: true,
  };
  return { path: "test", format: "safetensors", tensors, config, tokenizer: undefined };
}

const OPTIONS: ModelOptions = {
  weights: "int8",
  head: "16bit",
  threshold: "adaptive",
  headThreshold: "all",
  context: 64,
  pages: 8,
  rows: 8,
  kv: "int16",
  output: { type: "sample" },
};
const tiny = () => buildModel(manifest(2, 64, 4, 2, 96, 128), OPTIONS);

function expectNoOverlap(program: Program, limits: typeof LIMITS) {
  const placed = arena(program, limits);
  const live = lifetimes(placed.program).map((lifetime) => {
    const { place, shape } = placed.program.values[lifetime.value]!;
    const offset = place.type === "intermediate" ? place.offset! : -1;
    // At least one byte per element: enough to see two values that start inside each other.
    return { ...lifetime, offset, end: offset + elementsOf(shape, limits) };
  });
  for (const a of live)
    for (const b of live) {
      if (a.value >= b.value || a.last < b.first || b.last < a.first) continue;
      expect(a.end <= b.offset || b.end <= a.offset).toBe(true);
    }
  expect(placed.bytes).toBeLessThanOrEqual(placed.sum);
  return placed;
}

describe("passes", () => {
  it("never gives two values that are needed at once the same bytes, before and after fusing", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 8 }), (T, S) => {
        expectNoOverlap(tiny(), { ...LIMITS, T, S });
        expectNoOverlap(fuse(tiny()), { ...LIMITS, T, S });
      }),
      { numRuns: 20 },
    );
  });

  it("fuses a llama layer into eight ops and keeps one append per layer, before its attention", () => {
    const names = fuse(tiny()).ops.map(({ op }) => op);
    const layer = ["linear_int8", "rope_append", "attention", "quantize", "linear_int8"];
    const mlp = ["add_norm_quantize", "linear_int8", "glu_quantize", "linear_int8"];
    const first = ["embed", "norm_quantize", ...layer, ...mlp];
    expect(names).toEqual([
      ...first,
      "add_norm_quantize",
      ...layer,
      ...mlp,
      "add",
      "rows",
      "norm",
      "linear_float",
      "sample",
    ]);
  });

  it("stacks q, k and v from the files' tensors in order and reads them as columns", () => {
    const program = fuse(tiny());
    const stacked = [...program.parameters.values()].find(({ name }) => name.includes("q_proj.weight+"))!;
    expect(stacked.shape).toEqual([128, 64]);
    const paths = ["q", "k", "v"].map((name) => `model.layers.0.self_attn.${name}_proj.weight`);
    expect(stacked.source).toMatchObject({ type: "tensors", parts: paths.map((tensor) => ({ tensor })), form: "int8" });
    for (const [id, { place }] of program.values.entries())
      if (place.type === "columns") expect(place.of).toBeLessThan(id);
  });

  it("loses no tensor of the model to fusing", () => {
    const names = (program: Program) =>
      [...program.parameters.values()]
        .flatMap(({ source }) => (source.type === "tensors" ? source.parts.map(({ tensor }) => tensor) : []))
        .sort();
    expect(names(fuse(tiny()))).toEqual(names(tiny()));
  });

  it("binds every parameter and round-trips a step's arrays", () => {
    const lowered = lower(fuse(tiny()), () => 1, LIMITS);
    expect(lowered.message.values.every(({ place }) => place.type !== "arena" || place.offset % 64 === 0)).toBe(true);
    const arrays = [
      { name: "a", dtype: "int32", shape: ["T"] } as const,
      { name: "b", dtype: "float32", shape: ["S+1", 2] } as const,
    ];
    const sizes = { ...LIMITS, T: 3, S: 1 };
    const given = { a: Int32Array.of(1, 2, 3), b: Float32Array.of(1, 2, 3, 4) };
    expect(unpackOutputs({ outputs: arrays }, sizes, packInputs({ inputs: arrays }, sizes, given))).toEqual(given);
  });
});

/** A linear of int8 in its plain ops. */
function plainLinear() {
  const b = new ProgramBuilder();
  const x = b.input("x", "float32", ["T", 64]);
  const weight = b.weight("w", { parts: [{ tensor: "w" }], shape: [8, 64], form: "int8" });
  b.output("y", b.linear(x, weight, { label: "out" }));
  const digits = b.quantize(x);
  return { b, x, weight, digits, made: b.build() };
}

describe("int8 linears", () => {
  const PLAIN = ["row_statistics", "row_inliers", "quantize_digits", "multiply_int8", "dequantize"];
  const names = (program: Program) => program.ops.map(({ op }) => op);

  it("are written in plain ops, which are fused to two where nothing stands between", () => {
    const { made } = plainLinear();
    expect(names(made)).toEqual(PLAIN);
    const fused = fuse(made);
    expect(names(fused)).toEqual(["quantize", "linear_int8"]);
    expect(fused.ops.map(({ label }) => label)).toEqual(["x.digits", "out"]);
    expect(fused.ops[0]!.attributes).toEqual({ decompose: "adaptive", absolute: 6, relative: 6 });
  });

  it.each([0, 1, 3])("stay plain where something else reads what op %i makes, as a collective would", (index) => {
    const { b, made } = plainLinear();
    b.output("seen", Object.values(made.ops[index]!.outputs)[0]!);
    const left = index < 3 ? [...PLAIN.slice(0, 3), "linear_int8"] : ["quantize", ...PLAIN.slice(3)];
    expect(names(fuse(b.build()))).toEqual(left);
  });

  it("stay plain where x is a part of the row", () => {
    const { made } = plainLinear();
    const ops = made.ops.map((op) => ({
      ...op,
      attributes: op.op === "row_inliers" ? { ...op.attributes, columns: 128 } : op.attributes,
    }));
    expect(names(fuse({ ...made, ops }))).toEqual([...PLAIN.slice(0, 3), "linear_int8"]);
  });

  it("refuse digits of other rows, and the step of others", () => {
    const { b, x, weight, digits } = plainLinear();
    const others = b.quantize(x, 0);
    const { low, high, carries } = digits;
    const message = /must be the results of one op/;
    expect(() => b.call("multiply_int8", { low, high: others.high, carries, weight })).toThrow(message);
    const { sums } = b.call("multiply_int8", { low, high, carries, weight });
    const scale = b.constant("s", new Float32Array(8), [8]);
    expect(() => b.call("dequantize", { sums, step: others.step, scale })).toThrow(message);
    expect(b.call("dequantize", { sums, step: digits.step, scale }).y).toBeGreaterThan(0);
  });
});

describe("ProgramBuilder", () => {
  it("names the op, the operand and both shapes when operands do not fit", () => {
    const b = new ProgramBuilder();
    const x = b.input("x", "float32", ["T", 64]);
    const w = b.weight("w", { parts: [{ tensor: "w" }], shape: [8, 65], form: "float" });
    expect(() => b.linear(x, w, { label: "out" })).toThrow(/linear "out": x \[T, 64\] and w \[8, 65\] do not fit/);
    expect(() => b.add(x, b.input("n", "int32", ["T", 64]))).toThrow(
      expect.objectContaining({ code: "OCTAVO_DTYPE_MISMATCH" }),
    );
    expect(() => b.call("nothing" as "add", { a: x, b: x })).toThrow(
      expect.objectContaining({ code: "OCTAVO_UNKNOWN_OP" }),
    );
  });
});
