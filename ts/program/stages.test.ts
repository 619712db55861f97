/** A program in stages. If these fail, a stage lacks what it needs, or does what another one does. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEMO_CONFIG, OPTIONS } from "../../test/support/model-options.ts";
import { buildModel, type ModelOptions, modelOfConfig } from "../model/families/index.ts";
import { arena } from "./arena.ts";
import { ProgramBuilder } from "./builder.ts";
import { fuse } from "./fuse.ts";
import { lower } from "./lower.ts";
import type { Program, ValueId } from "./program.ts";
import { shard } from "./shard.ts";
import { cutStages } from "./stages.ts";

const LIMITS = { T: 16, S: 4, B: 4, J: 2, H: 8, D: 8, Q: 2 };
const model = (change: object = {}, options: Partial<ModelOptions> = {}) =>
  buildModel(modelOfConfig("demo", { ...DEMO_CONFIG, vocab_size: 1000, ...change }), { ...OPTIONS, ...options });
const even = (stages: number) => new Array<number>(stages).fill(1);
const names = ({ ops }: Program) => ops.map(({ op }) => op);
const layers = (program: Program) => names(program).filter((op) => op === "attention").length;
const inputsOf = ({ values, inputs }: Program) => inputs.map((id) => values[id]);
const labels = ({ ops }: Program) => ops.map(({ op, label }) => `${op} ${label}`);

describe("cutStages", () => {
  it("leaves one stage what it is", () => {
    const whole = model();
    expect(cutStages(whole, [3])[0]).toBe(whole);
  });

  it("cuts between layers, and hands on what is between them", () => {
    const [first, second] = cutStages(model({ num_hidden_layers: 2 }), [1, 1]) as [Program, Program];
    expect([names(first)[0], names(first).at(-1)]).toEqual(["embed", "send"]);
    expect([names(second)[0], names(second).at(-1)]).toEqual(["receive", "sample"]);
    const sent = first.values[first.ops.at(-1)!.inputs.x!]!;
    const received = second.values[second.ops[0]!.outputs.y!]!;
    expect(sent).toMatchObject({ label: "model.layers.0.mlp.residual", dtype: "float32", shape: ["T", 576] });
    expect(received).toEqual(sent);
    expect(second.ops[0]!.attributes).toEqual({ columns: 576 });
  });

  it.each([
    [2, [15, 15]],
    [3, [10, 10, 10]],
    [4, [7, 7, 8, 8]],
  ])("of %i stages gives each as many bytes that steps read as it can", (stages, expected) => {
    const cut = cutStages(model({ vocab_size: 16 }), even(stages)).map(layers);
    expect(cut.toSorted((a, b) => a - b)).toEqual(expected);
  });

  it("counts half of the output layer, and not the embedding, of which a step reads some rows", () => {
    // A head of 49,152 rows is as much as 8 layers.
    expect(cutStages(model({ vocab_size: 49152 }), [1, 1]).map(layers)).toEqual([17, 13]);
    expect(cutStages(model({ vocab_size: 16 }), [2, 1]).map(layers)).toEqual([20, 10]);
  });

  it("is the same for any number of KV pages", () => {
    const cut = (pages: number) => cutStages(model({}, { pages }), [1, 1, 1]).map(labels);
    expect(cut(1)).toEqual(cut(4000));
  });

  it("gives a tied 16-bit embedding to the first and to the last stage, and to no other", () => {
    const stages = cutStages(model({}, { head: "16bit", weights: "16bit" }), even(3));
    const has = stages.map(({ parameters }) => parameters.has("model.embed_tokens.weight"));
    expect(has).toEqual([true, false, true]);
  });

  it("leaves ids that another process has drawn out of the embedding: only the last stage has them", () => {
    const [first, last] = cutStages(model(), [1, 1]) as [Program, Program];
    expect(first.ops[0]!.inputs).not.toHaveProperty("sampled");
    expect([first, last].map(({ parameters }) => parameters.has("sampled"))).toEqual([false, true]);
  });

  it("says how many stages a model can have", () => {
    const deep = model({ num_hidden_layers: 3 });
    expect(cutStages(deep, even(3)).map(layers)).toEqual([1, 1, 1]);
    const text = "4 stages, but the model can be cut into 3 at most: a stage has one layer at least";
    expect(() => cutStages(deep, even(4))).toThrow(
      expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT", message: text }),
    );
    expect(() => cutStages(deep, [1, 0])).toThrow("shares are [1, 0]");
  });

  it("does not cut what two values, or columns of a value, go on from", () => {
    const b = new ProgramBuilder();
    const tokens = b.input("tokens", "int32", ["T"]);
    const x = b.input("x", "float32", ["T", 8]);
    const y = b.add(x, x);
    const z = b.add(y, x); // From here on y and z.
    const w = b.add(y, z);
    b.output("last", b.add(b.columns(w, 0, 4), b.columns(w, 4, 4)));
    const program = b.build();
    expect(tokens).toBe(program.inputs[0]);
    const [first, second] = cutStages(program, [1, 1]) as [Program, Program];
    expect([names(first), names(second)]).toEqual([
      ["add", "send"],
      ["receive", "add", "add", "add"],
    ]);
    const [, middle, last] = cutStages(program, [1, 1, 1]) as [Program, Program, Program];
    expect([names(middle), names(last)]).toEqual([
      ["receive", "add", "add", "send"],
      ["receive", "add"],
    ]);
    expect(() => cutStages(program, even(4))).toThrow("at most");
  });

  it("does not cut between ops that write and read a parameter", () => {
    const b = new ProgramBuilder();
    b.input("tokens", "int32", ["T"]);
    const x = b.input("x", "float32", ["T", 8]);
    const kept = b.state("kept", "io", "float32", [4, 8]);
    const y = b.add(x, x);
    b.call("add", { a: kept, b: kept }, {}, { into: { y: kept } });
    const z = b.add(y, y);
    b.call("add", { a: kept, b: kept }, {}, { into: { y: kept } });
    b.output("z", b.add(z, z));
    const [first, second] = cutStages(b.build(), [1, 1]) as [Program, Program];
    expect([names(first), names(second)]).toEqual([
      ["add", "send"],
      ["receive", "add", "add", "add", "add"],
    ]);
  });
});

const cases = fc.record({
  layers: fc.integer({ min: 1, max: 6 }),
  tied: fc.boolean(),
  qwen: fc.boolean(),
  weights: fc.constantFrom("int8" as const, "16bit" as const),
  head: fc.constantFrom("int8" as const, "16bit" as const),
  output: fc.constantFrom<ModelOptions["output"]>(
    { type: "sample" },
    { type: "sample", logits: true },
    { type: "logits" },
    { type: "score", reference: "write" },
    { type: "score", reference: "read" },
  ),
  shares: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 6 }),
  ranks: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
});

it("stages of any model do what the whole does, once and in its order, with the same inputs; their ranks can be lowered", () => {
  fc.assert(
    fc.property(cases, ({ layers: depth, tied, qwen, shares, ranks, ...options }) => {
      fc.pre(shares.length <= depth);
      const config = {
        architectures: [qwen ? "Qwen2ForCausalLM" : "LlamaForCausalLM"],
        ...{ hidden_size: 48, intermediate_size: 80, num_hidden_layers: depth, num_attention_heads: 4 },
        ...{ num_key_value_heads: 2, head_dim: 8, vocab_size: 50, max_position_embeddings: 64 },
        tie_word_embeddings: tied,
      };
      const whole = buildModel(modelOfConfig("property", config), { ...OPTIONS, context: 64, ...options });
      const stages = cutStages(whole, shares);
      const between = (op: string) => !/^(send|receive) /.test(op);
      expect(stages.flatMap((stage) => labels(stage).filter(between))).toEqual(labels(whole));
      expect(stages.map((stage) => layers(stage) > 0)).toEqual(shares.map(() => true));
      expect(stages.flatMap(({ parameters }) => [...parameters.keys()]).length).toBeGreaterThanOrEqual(
        whole.parameters.size,
      );
      for (const [index, stage] of stages.entries()) {
        const isLast = index + 1 === stages.length;
        expect(inputsOf(stage)).toEqual(inputsOf(whole));
        expect(stage.outputs.map(({ name }) => name)).toEqual(isLast ? whole.outputs.map(({ name }) => name) : []);
        expect([names(stage).includes("receive"), names(stage).includes("send")]).toEqual([index > 0, !isLast]);
        // Every value that an op reads is there before it.
        const written = new Set<ValueId>();
        for (const op of stage.ops) {
          for (const id of Object.values(op.inputs)) {
            const { place } = stage.values[id]!;
            if (place.type === "intermediate") expect(written.has(id)).toBe(true);
          }
          for (const id of Object.values(op.outputs)) written.add(id);
        }
        for (const [rank, program] of shard(stage, ranks).entries()) {
          const fused = fuse(program);
          expect(lower(fused, () => 1, LIMITS).arenaBytes).toBe(arena(fused, LIMITS).bytes);
          expect(program.outputs.length > 0).toBe(isLast && rank === 0);
          expect(inputsOf(fused)).toEqual(inputsOf(whole));
        }
      }
    }),
    { numRuns: 60 },
  );
});
