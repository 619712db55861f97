/** What must hold for any model, any shares: nothing is lost, nothing is there twice but what says so. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { OPTIONS } from "../../test/support/model-options.ts";
import { kvLayout } from "../memory/kv/layout.ts";
import { buildModel, type ModelOptions, modelOfConfig } from "../model/families/index.ts";
import { arena } from "./arena.ts";
import { fuse } from "./fuse.ts";
import { lower } from "./lower.ts";
import type { Operation, Parameter, Program, Range, ValueId } from "./program.ts";
import { shard } from "./shard.ts";
import { elementCount } from "./tensor-bytes.ts";

const LIMITS = { T: 16, S: 4, B: 4, J: 2, H: 8, D: 8, Q: 2 };
const HEAD_DIM = 8;
const small = (max: number) => fc.integer({ min: 1, max });
const OUTPUTS: readonly ModelOptions["output"][] = [
  { type: "sample" },
  { type: "sample", logits: true },
  { type: "logits" },
  { type: "score" },
  { type: "score", reference: "read" },
  { type: "score", reference: "write" },
];
const scheme = fc.record({
  codes: fc.constantFrom("absmax" as const, "zeropoint" as const),
  scope: fc.constantFrom("tensor" as const, "row" as const, "vector" as const),
  threshold: fc.constantFrom(0, 6),
});
const forms = fc.oneof(
  fc.record({
    weights: fc.constantFrom("int8" as const, "16bit" as const),
    head: fc.constantFrom("int8" as const, "16bit" as const),
  }),
  scheme.map((scheme) => ({ weights: "16bit" as const, head: "int8" as const, scheme })),
);
const cases = fc.record({
  kvHeads: small(4),
  group: small(4),
  hidden: fc.integer({ min: 2, max: 90 }),
  intermediate: small(90),
  vocabulary: small(120),
  tied: fc.boolean(),
  biases: fc.boolean(),
  qwen: fc.boolean(),
  forms,
  threshold: fc.constantFrom(0, 6, "adaptive" as const, "all" as const),
  observe: fc.constantFrom(undefined, 6),
  output: fc.constantFrom(...OUTPUTS),
  shares: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 9 }),
});
type Case = typeof cases extends fc.Arbitrary<infer C> ? C : never;

function build({
  kvHeads,
  group,
  hidden,
  intermediate,
  vocabulary,
  tied,
  biases,
  qwen,
  forms,
  ...given
}: Case): Program {
  const config = {
    architectures: [qwen ? "Qwen2ForCausalLM" : "LlamaForCausalLM"],
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: 2,
    num_attention_heads: kvHeads * group,
    num_key_value_heads: kvHeads,
    head_dim: HEAD_DIM,
    vocab_size: vocabulary,
    max_position_embeddings: 64,
    tie_word_embeddings: tied,
    ...(qwen ? {} : { attention_bias: biases, mlp_bias: biases }),
  };
  const { threshold, observe, output } = given;
  const options = { ...OPTIONS, context: 64, threshold, headThreshold: threshold, observe, output, ...forms };
  return buildModel(modelOfConfig("property", config), options);
}

/** All that random models promise, checked for one of them. */
function forAll(check: (whole: Program, ranks: readonly Program[], given: Case) => void): void {
  fc.assert(
    fc.property(cases, (given) => {
      fc.pre(given.shares.length <= given.kvHeads * given.group);
      const whole = build(given);
      check(whole, shard(whole, given.shares), given);
    }),
    { numRuns: 60 },
  );
}

const byLabel = ({ ops }: Program) => new Map(ops.map((op) => [`${op.op} ${op.label}`, op]));
const parameterOf = ({ values, parameters }: Program, id: ValueId): Parameter | undefined => {
  const { place } = values[id]!;
  return place.type === "parameter" ? parameters.get(place.name) : undefined;
};
const operands = ({ inputs }: Operation) => Object.entries(inputs);

/** Rows and columns of the one tensor that a parameter takes. */
function rectangle({ shape, source }: Parameter): readonly [rows: Range, columns: Range] {
  const { rows, columns } = source.type === "tensors" ? source.parts[0]! : {};
  const [height, width] = shape.length === 1 ? [1, shape[0]!] : [shape[0]!, shape[1]!];
  return [rows ?? [0, height], columns ?? [0, width]];
}

/** Of how many rectangles each element of the whole one is. */
function coverage(whole: Parameter, parts: readonly Parameter[]): Set<number> {
  const [[, height], [, width]] = rectangle(whole);
  const counts = new Uint8Array(height * width);
  for (const part of parts) {
    const [rows, columns] = rectangle(part);
    for (let row = rows[0]; row < rows[1]; row++)
      for (let column = columns[0]; column < columns[1]; column++) counts[row * width + column]!++;
  }
  return new Set(counts);
}

/** Weights, biases and scales of these ops' labels are on several ranks where these share a kv head. */
const ofKv = (label: string) => /\.(k|v)_proj(\.sums)?$/.test(label);

it("every element of a weight is on one rank, or all of it on all; a kv head's on the ranks that have heads of it", () => {
  forAll((whole, ranks, given) => {
    const each = ranks.map(byLabel);
    for (const op of whole.ops)
      for (const [name, id] of operands(op)) {
        const parameter = parameterOf(whole, id);
        if (parameter?.source.type !== "tensors") continue;
        const idOf = (ops: Map<string, Operation>) => ops.get(`${op.op} ${op.label}`)!.inputs[name]!;
        const there = each.map((ops, rank) => parameterOf(ranks[rank]!, idOf(ops))!);
        const counts = coverage(parameter, there);
        const everywhere = there.every(({ shape }) => shape.join() === parameter.shape.join());
        if (everywhere) continue;
        if (ofKv(op.label) && ranks.length > given.kvHeads) expect(counts.has(0)).toBe(false);
        else expect(counts).toEqual(new Set([1]));
      }
  });
});

it("all ranks gather the same values in the same order, and their columns cover all", () => {
  forAll((_, ranks) => {
    const gathers = ranks.map((rank) => rank.ops.filter(({ op }) => op === "gather").map((op) => ({ rank, op })));
    for (const [index, { op }] of gathers[0]!.entries()) {
      let end = 0;
      for (const own of gathers) {
        const { rank, op: mine } = own[index]!;
        expect(mine.label).toBe(op.label);
        expect(mine.attributes).toEqual({ columns: op.attributes.columns, first: end });
        const [rows, columns] = rank.values[mine.inputs.x!]!.shape;
        expect(rows).toBe(ranks[0]!.values[op.inputs.x!]!.shape[0]);
        end += columns as number;
      }
      expect(end).toBe(op.attributes.columns);
    }
    expect(new Set(gathers.map(({ length }) => length)).size).toBe(1);
  });
});

it("every op reads and writes what it would in the whole program, or its rank's part of that", () => {
  forAll((whole, ranks) => {
    const ops = byLabel(whole);
    for (const rank of ranks)
      for (const op of rank.ops) {
        if (op.op === "gather") continue;
        const original = ops.get(`${op.op} ${op.label}`)!;
        expect(Object.keys(op.inputs)).toEqual(Object.keys(original.inputs));
        for (const [name, id] of [...operands(op), ...Object.entries(op.outputs)]) {
          const own = rank.values[id]!;
          const all = whole.values[(original.inputs[name] ?? original.outputs[name]) as ValueId]!;
          expect(own.dtype).toBe(all.dtype);
          expect(own.shape.length).toBe(all.shape.length);
          for (const [i, size] of own.shape.entries())
            if (typeof size === "number") expect(size).toBeLessThanOrEqual(all.shape[i] as number);
            else expect(size).toBe(all.shape[i]);
        }
      }
  });
});

/** Elements of all ranks beyond those of the whole program, by parameter of the whole program. */
function surplus(whole: Program, ranks: readonly Program[]): Map<string, number> {
  const nameOf = ({ name, source }: Parameter) =>
    source.type === "state" ? name : name.replace(/\[(, )?\d+\.\.\d+\]$/, "");
  const extra = new Map<string, number>();
  const add = (parameter: Parameter, sign: number) => {
    const name = nameOf(parameter);
    extra.set(name, (extra.get(name) ?? 0) + sign * elementCount(parameter.shape));
  };
  for (const rank of ranks) for (const parameter of rank.parameters.values()) add(parameter, 1);
  for (const parameter of whole.parameters.values()) add(parameter, -1);
  for (const [name, elements] of extra) if (elements === 0) extra.delete(name);
  return extra;
}

it("takes no more memory than the whole but for norms, angles, what steps keep, a tied 16-bit head and shared kv heads", () => {
  forAll((whole, ranks, given) => {
    const { kvHeads, shares, tied, forms, hidden, vocabulary, intermediate } = given;
    const most = (pieces: number) => shares.length > pieces; // Then it is whole on every rank.
    const scoped = "scheme" in forms && forms.scheme.scope !== "vector";
    for (const [name, elements] of surplus(whole, ranks)) {
      expect(elements).toBeGreaterThan(0);
      const replicated =
        /norm\.weight$|^model\.norm|layernorm|^rope\.|^sampled$|^reference$|\.outliers$|\.largest$/.test(name) ||
        (/\.(k|v)_proj\.|\.(keys|values|steps)$/.test(name) && shares.length > kvHeads) ||
        (/\.(gate|up)_proj\./.test(name) && most(intermediate)) ||
        (/\.(o|down)_proj\./.test(name) && most(hidden)) ||
        (/^model\.embed_tokens/.test(name) && (most(hidden) || (tied && forms.head === "16bit"))) ||
        (/^lm_head/.test(name) && most(vocabulary)) ||
        (scoped && !/^model\.embed/.test(name));
      expect(replicated, `${name}: ${elements}`).toBe(true);
    }
  });
});

it("every rank fuses, merges, is placed and lowered, with a page of its own kv heads", () => {
  forAll((whole, ranks) => {
    const inputs = (program: Program) => program.inputs.map((id) => program.values[id]!);
    const fused = ranks.map(fuse);
    for (const [index, rank] of fused.entries()) {
      const { bytes, sum } = arena(rank, LIMITS);
      expect(bytes).toBeLessThanOrEqual(sum);
      const lowered = lower(rank, () => 1, LIMITS);
      expect(lowered.outputs.map(({ name }) => name)).toEqual(index === 0 ? whole.outputs.map(({ name }) => name) : []);
      expect(inputs(rank)).toEqual(inputs(whole));
      expect(kvLayout(rank).map(({ layers }) => layers)).toEqual([2]);
    }
    const names = ({ ops }: Program) => ops.map(({ op }) => op);
    for (const rank of fused) expect(names(rank)).toEqual(names(fused[0]!));
  });
});
