import { describe, expect, it } from "vitest";
import { DEMO_CONFIG, OPTIONS } from "../../test/support/model-options.ts";
import { kvLayout, pageBytes } from "../memory/kv/layout.ts";
import { buildModel, type ModelOptions, modelOfConfig } from "../model/families/index.ts";
import { ProgramBuilder } from "./builder.ts";
import { fuse } from "./fuse.ts";
import type { Program, ValueId } from "./program.ts";
import { shard } from "./shard.ts";

/** Heads and widths of SmolLM2-135M, one layer. */
const config = { ...DEMO_CONFIG, num_hidden_layers: 1, vocab_size: 1000 };
const model = (options: Partial<ModelOptions> = {}, change: object = {}) =>
  buildModel(modelOfConfig("demo", { ...config, ...change }), { ...OPTIONS, ...options });
const even = (ranks: number) => Array.from({ length: ranks }, () => 1);

const names = ({ ops }: Program) => ops.map(({ op }) => op);
const opOf = ({ ops }: Program, label: string) => ops.find((op) => op.label === label)!;
const operand = (program: Program, label: string, name: string) => {
  const { inputs, outputs } = opOf(program, label);
  return program.values[(inputs[name] ?? outputs[name]) as ValueId]!;
};
const width = (program: Program, label: string, name = "y") => operand(program, label, name).shape[1];
/** Columns of a value on each rank. */
const widths = (ranks: readonly Program[], label: string, name = "y") => ranks.map((rank) => width(rank, label, name));
const partsOf = (program: Program, label: string, name: string) => {
  const { place } = operand(program, label, name);
  const source = place.type === "parameter" ? program.parameters.get(place.name)?.source : undefined;
  return source?.type === "tensors" ? source.parts : undefined;
};
const ATTENTION = "model.layers.0.self_attn";
const MLP = "model.layers.0.mlp";

describe("shard", () => {
  it("leaves one rank what it is", () => {
    const whole = model();
    expect(shard(whole, [3])[0]).toBe(whole);
  });

  it.each([
    [1, [[9, 3]]],
    [
      2,
      [
        [6, 2],
        [3, 1],
      ],
    ],
    [
      3,
      [
        [3, 1],
        [3, 1],
        [3, 1],
      ],
    ],
    [
      4,
      [
        [3, 1],
        [3, 1],
        [2, 1],
        [1, 1],
      ],
    ],
    [9, even(9).map(() => [1, 1])],
  ])(
    "splits 9 heads in 3 groups among %i ranks by groups, and groups where there are more ranks than these",
    (count, heads) => {
      const ranks = shard(model(), even(count));
      const got = ranks.map((rank) => {
        const { heads, kvHeads } = opOf(rank, ATTENTION).attributes;
        return [heads, kvHeads];
      });
      expect(got).toEqual(heads);
      for (const [rank, [q, kv]] of heads.entries()) {
        expect(width(ranks[rank]!, `${ATTENTION}.q_proj`)).toBe(q! * 64);
        expect(width(ranks[rank]!, `${ATTENTION}.k_proj`)).toBe(kv! * 64);
        expect(opOf(ranks[rank]!, `${ATTENTION}.append`).attributes.kvHeads).toBe(kv);
        expect(operand(ranks[rank]!, ATTENTION, "keys").shape).toEqual([8, kv, 1024]);
        expect(operand(ranks[rank]!, ATTENTION, "steps").shape).toEqual([8, kv, 32]);
      }
    },
  );

  it("refuses more ranks than heads, and shares that are none", () => {
    const refusal = (text: RegExp) =>
      expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT", message: expect.stringMatching(text) });
    expect(() => shard(model(), even(10))).toThrow(
      refusal(/10 ranks, but the model has 3 kv heads of 3 heads each: at most 9/),
    );
    for (const shares of [[], [1, 0], [1, -1], [1, Number.NaN], [Infinity, 1]])
      expect(() => shard(model(), shares)).toThrow(refusal(/a positive number for each rank/));
    const [first] = shard(model(), [1, 1]);
    expect(() => shard(first!, [1, 1])).toThrow(refusal(/already/));
  });

  it("cuts by shares, in blocks of 16 outputs, the last of which may be smaller", () => {
    const ranks = shard(model({}, { intermediate_size: 1000 }), [2, 1]);
    expect(widths(ranks, `${MLP}.glu`)).toEqual([672, 328]); // 63 blocks: 42 and 21.
    expect(widths(ranks, `${ATTENTION}.o_proj`)).toEqual([384, 192]);
    expect(widths(ranks, "logits")).toEqual([672, 328]);
    expect(widths(ranks, "embed")).toEqual([384, 192]);
    expect(opOf(ranks[0]!, ATTENTION).attributes.heads).toBe(6);
  });

  it("cuts single outputs where there are fewer blocks than ranks, and nothing where there are fewer outputs", () => {
    const five = shard(model({}, { intermediate_size: 40 }), even(5));
    expect(widths(five, `${MLP}.glu`)).toEqual([8, 8, 8, 8, 8]);
    const six = shard(model({}, { intermediate_size: 5 }), even(6));
    expect(widths(six, `${MLP}.gate_proj`)).toEqual([5, 5, 5, 5, 5, 5]);
    expect(six[0]!.ops.some(({ label }) => label === `${MLP}.glu.gather`)).toBe(false);
    expect(widths(six, `${MLP}.down_proj`)).toEqual([96, 96, 96, 96, 96, 96]);
  });

  it("gathers four times in a layer, and fuses and merges the rest as on one device", () => {
    for (const rank of shard(model({ head: "16bit" }), [1, 1, 1]).map(fuse))
      expect(names(rank)).toEqual([
        ...["embed", "gather", "norm_quantize"],
        ...["linear_int8", "rope_append", "attention", "gather", "quantize", "linear_int8", "gather"],
        ...["add_norm_quantize", "linear_int8", "glu", "gather", "quantize", "linear_int8", "gather"],
        ...["add", "rows", "norm", "linear_float", "gather", "sample"],
      ]);
  });

  it("gives all ranks the same inputs, and rank 0 alone the outputs", () => {
    const whole = model({ output: { type: "sample", logits: true } });
    const inputs = (program: Program) => program.inputs.map((id) => program.values[id]!);
    for (const [index, rank] of shard(whole, [1, 2, 1]).entries()) {
      expect(inputs(rank)).toEqual(inputs(whole));
      expect(rank.outputs.map(({ name }) => name)).toEqual(index === 0 ? whole.outputs.map(({ name }) => name) : []);
      expect(names(rank)).toContain("sample"); // Its ids are the tokens of the next step.
    }
  });

  it("makes two parameters of an embedding that is the head: columns for one, rows for the other", () => {
    const ranks = shard(model({ head: "16bit" }), [1, 1]);
    const tensor = "model.embed_tokens.weight";
    expect(ranks.map((rank) => partsOf(rank, "embed", "table"))).toEqual([
      [{ tensor, columns: [0, 288] }],
      [{ tensor, columns: [288, 576] }],
    ]);
    expect(ranks.map((rank) => partsOf(rank, "logits", "weight"))).toEqual([
      [{ tensor, rows: [0, 512] }],
      [{ tensor, rows: [512, 1000] }],
    ]);
    const own = ranks[0]!.parameters;
    expect([...own.keys()].filter((name) => name.startsWith(tensor))).toEqual([
      `${tensor}[, 0..288]`,
      `${tensor}[0..512]`,
    ]);
  });

  it("names parts so that they are never another program's whole, and codes and scales after each other", () => {
    const [, second] = shard(model(), [1, 1]);
    const weight = "lm_head.weight[512..1000]";
    const scale = "lm_head.weight.scale[512..1000]";
    expect(second!.parameters.get(weight)).toMatchObject({ shape: [488, 576], source: { form: "int8", scale } });
    expect(second!.parameters.get(scale)).toMatchObject({ shape: [488], source: { type: "scale", of: weight } });
    expect(second!.parameters.get("model.norm.weight")!.shape).toEqual([576]);
  });

  it("cuts biases, which are one row of their tensor, with their weights", () => {
    const ranks = shard(model({}, { attention_bias: true }), [1, 1]);
    const k = `${ATTENTION}.k_proj`;
    expect(ranks.map((rank) => partsOf(rank, k, "bias"))).toEqual([
      [{ tensor: `${k}.bias`, columns: [0, 128] }],
      [{ tensor: `${k}.bias`, columns: [128, 192] }],
    ]);
    const merged = fuse(ranks[1]!).ops.find(({ label }) => label.includes(k))!;
    expect(merged.label).toBe(["q", "k", "v"].map((name) => `${ATTENTION}.${name}_proj`).join("+"));
  });

  it("gives a page of each rank the bytes of its kv heads", () => {
    const page = (rank: Program) => pageBytes(kvLayout(rank));
    const whole = page(model());
    expect(shard(model(), [1, 1]).map(page)).toEqual([(whole * 2) / 3, whole / 3]);
    // Four ranks: one kv head is on two of them.
    expect(shard(model(), even(4)).map(page)).toEqual(even(4).map(() => whole / 3));
  });

  it.each(["tensor", "row"] as const)("keeps linears whole whose weight has one scale (%s)", (scope) => {
    const scheme = { codes: "absmax", scope, threshold: 6 } as const;
    const ranks = shard(model({ weights: "16bit", head: "int8", scheme }), [1, 1]);
    expect(widths(ranks, `${ATTENTION}.q_proj`)).toEqual([576, 576]);
    expect(opOf(ranks[1]!, ATTENTION).attributes.heads).toBe(9);
    expect(ranks[0]!.ops.flatMap(({ op, label }) => (op === "gather" ? [label] : []))).toEqual(["embed.gather"]);
    const byRow = shard(model({ weights: "16bit", head: "int8", scheme: { ...scheme, scope: "vector" } }), [1, 1]);
    expect(widths(byRow, `${ATTENTION}.q_proj`)).toEqual([384, 192]);
  });

  it("counts outliers of whole rows, gathered once", () => {
    const ranks = shard(model({ observe: 6 }), [1, 1]);
    expect(widths(ranks, `${MLP}.glu.gather`)).toEqual([1536, 1536]);
    const observers = ranks[1]!.ops.filter(({ op }) => op === "observe_outliers");
    expect(observers.map(({ inputs }) => ranks[1]!.values[inputs.x!]!.shape[1])).toEqual([576, 576, 576, 1536]);
    const gathers = ranks[1]!.ops.flatMap(({ op, label }) => (op === "gather" ? [label] : []));
    expect(new Set(gathers).size).toBe(gathers.length);
  });

  it("gathers logits into the reference that a step writes", () => {
    const ranks = shard(model({ output: { type: "score", reference: "write" } }), [1, 1]);
    for (const rank of ranks) {
      const gather = opOf(rank, "reference.gather");
      expect(rank.values[gather.outputs.y!]!.place).toEqual({ type: "parameter", name: "reference" });
      expect(names(rank)).toContain("score");
    }
  });
});

describe("shard, of programs that no family writes", () => {
  /** x [T, 64] -> 64 features. */
  function projected() {
    const b = new ProgramBuilder();
    const x = b.input("x", "float32", ["T", 64]);
    const linear = (name: string, n: number, from = x) =>
      b.linear(from, b.weight(name, { parts: [{ tensor: name }], shape: [n, 64], form: "float" }), { label: name });
    return { b, x, linear };
  }

  it("cuts less of a program that was fused before: the table has plain ops", () => {
    const ranks = shard(fuse(model()), [1, 1]);
    expect(widths(ranks, `${ATTENTION}.o_proj`)).toEqual([288, 288]);
    expect(ranks.map((rank) => opOf(rank, ATTENTION).attributes.heads)).toEqual([9, 9]);
  });

  it("keeps whole what an op outside the table makes, and what must be cut alike", () => {
    const { b, x, linear } = projected();
    b.output("y", b.glu(linear("gate", 64), b.add(x, x), {}, "glu"));
    const [first, second] = shard(b.build(), [1, 1]);
    expect(width(first!, "glu")).toBe(64);
    expect(names(first!)).not.toContain("gather");
    expect(width(second!, "glu")).toBe(64);
  });

  it("reads views of whole values", () => {
    const { b, linear } = projected();
    const both = linear("both", 128);
    b.output("y", b.glu(b.columns(both, 0, 64), b.columns(both, 64, 64), {}, "glu"));
    const [first, second] = shard(b.build(), [1, 1]);
    expect(names(first!)).toEqual(["linear_float", "gather", "glu"]);
    expect(names(second!)).toEqual(names(first!));
    expect(width(first!, "glu")).toBe(64);
  });

  it("cuts a weight of two linears once", () => {
    const { b, x } = projected();
    const weight = b.weight("w", { parts: [{ tensor: "w" }], shape: [64, 64], form: "int8" });
    const y = b.linear(x, weight, { label: "first" });
    b.output("y", b.linear(y, weight, { label: "second" }));
    const [first, second] = shard(b.build(), [3, 1]);
    expect([...first!.parameters.keys()]).toEqual(["w[0..48]", "w.scale[0..48]"]);
    expect([...second!.parameters.keys()]).toEqual(["w[48..64]", "w.scale[48..64]"]);
  });

  it("keeps codes whole whose scales somebody reads otherwise", () => {
    const { b, x } = projected();
    const weight = b.weight("w", { parts: [{ tensor: "w" }], shape: [64, 64], form: "int8" });
    b.linear(x, weight, { label: "y" });
    const scale = b.parameter({
      name: "w.scale",
      dtype: "float32",
      layout: "plain",
      shape: [64],
      source: { type: "scale", of: "w" },
    });
    b.output("normed", b.norm(x, scale, { label: "norm" }));
    const ranks = shard(b.build(), [1, 1]);
    expect([...ranks[0]!.parameters.keys()]).toEqual(["w", "w.scale"]);
  });

  it("takes a tensor's part as the place from which it counts, and no stack of several tensors", () => {
    const { b, x } = projected();
    const part = { tensor: "experts", rows: [64, 128], columns: [0, 64] } as const;
    const expert = b.weight("expert", { parts: [part], shape: [64, 64], form: "float" });
    b.output("y", b.linear(x, expert, { label: "expert" }));
    const stack = b.weight("stack", { parts: [{ tensor: "a" }, { tensor: "b" }], shape: [64, 64], form: "float" });
    b.output("z", b.linear(x, stack, { label: "stack" }));
    const [, second] = shard(b.build(), [1, 1]);
    expect(partsOf(second!, "expert", "weight")).toEqual([{ ...part, rows: [96, 128] }]);
    expect([...second!.parameters.keys()]).toEqual(["expert[32..64]", "stack"]);
  });

  it("does not gather integers: their linear is whole", () => {
    const { b, x } = projected();
    const weight = b.weight("w", { parts: [{ tensor: "w" }], shape: [64, 64], form: "int8" });
    b.linear(x, weight, { label: "y" });
    const made = b.build();
    const sums = made.ops.find(({ op }) => op === "multiply_int8")!.outputs.sums!;
    const ranks = shard({ ...made, outputs: [{ name: "sums", value: sums }] }, [1, 1]);
    expect(ranks[0]!.values[ranks[0]!.outputs[0]!.value]!.shape).toEqual(["T", 64]);
    expect(names(ranks[0]!)).not.toContain("gather");
  });

  /** Attention of 4 heads in 2 groups over 16 elements each; `k` may also be returned. */
  function attended(returnsK: boolean) {
    const { b, linear } = projected();
    const [pages, lengths, starts, slots] = [
      b.input("pages", "int32", ["B", "J"]),
      b.input("lengths", "int32", ["B"]),
      b.input("starts", "int32", ["B+1"]),
      b.input("slots", "int32", ["T"]),
    ];
    const cache = {
      keys: b.state("keys", "kv", "int8", [8, 2, 256]),
      values: b.state("values", "kv", "int8", [8, 2, 256]),
      steps: b.state("steps", "kv", "float32", [8, 2, 32]),
    };
    const k = linear("k", 32);
    b.append({ k, v: linear("v", 32), slots, ...cache }, { kvHeads: 2, headDim: 16 }, "append");
    const slopes = b.constant("slopes", Float32Array.of(1, 2, 3, 4), [4]);
    const bias = b.constant(
      "bias",
      Float32Array.from({ length: 12 }, (_, i) => i),
      [4, 3],
    );
    const attributes = { heads: 4, kvHeads: 2, headDim: 16, scale: 0.25 };
    const q = linear("q", 64);
    b.output("y", b.attention({ q, ...cache, pages, lengths, starts, slopes, bias }, attributes, "attention"));
    if (returnsK) b.output("k", k);
    return b.build();
  }
  const constant = (program: Program, label: string, name: string) => {
    const { place } = operand(program, label, name);
    const source = place.type === "parameter" ? program.parameters.get(place.name)!.source : undefined;
    return source?.type === "constant" ? [...source.data] : undefined;
  };

  it("slices what heads have of their own: slopes, and biases by distance", () => {
    const ranks = shard(attended(false), [1, 1, 1]);
    expect(ranks.map((rank) => constant(rank, "attention", "slopes"))).toEqual([[1, 2], [3], [4]]);
    expect(ranks.map((rank) => constant(rank, "attention", "bias"))).toEqual([
      [0, 1, 2, 3, 4, 5],
      [6, 7, 8],
      [9, 10, 11],
    ]);
  });

  it("keeps attention whole where somebody reads the k that several ranks would have", () => {
    const heads = (program: Program) => opOf(program, "attention").attributes.heads;
    expect(shard(attended(true), [1, 1]).map(heads)).toEqual([2, 2]);
    expect(shard(attended(true), [1, 1, 1])[0]!.ops.some(({ op }) => op === "gather")).toBe(false);
    expect(heads(shard(attended(true), [1, 1, 1])[0]!)).toBe(4);
  });
});
