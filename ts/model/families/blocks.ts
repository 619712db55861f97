/**
 * What transformers are made of, as functions that write ops: a family puts them in order. `path` is where a block's tensors
 * lie in the files ("model.layers.3.self_attn"), and what its ops are called.
 */
import { type DType, PAGE_SIZE } from "../../../protocol/ops.ts";
import type { AttributesOf } from "../../program/attributes.ts";
import { ProgramBuilder } from "../../program/builder.ts";
import type { ValueId } from "../../program/program.ts";
import type { ModelOptions } from "./options.ts";
import { type RopeScaling, ropeTables } from "./rope.ts";
import type { ModelTensors } from "./tensors.ts";

/** The program being written, and what it is written from. */
export class ModelWriter {
  readonly builder = new ProgramBuilder();
  readonly tensors: ModelTensors;
  readonly options: ModelOptions;

  constructor(tensors: ModelTensors, options: ModelOptions) {
    this.tensors = tensors;
    this.options = options;
  }

  /** A norm's weight or a bias [n]. */
  vector(name: string, n: number): ValueId {
    return this.builder.vector(this.tensors.take(name, [n]).name, n);
  }

  /** A matrix [n, k] under `name`, from the tensor `from`. */
  weight(name: string, n: number, k: number, form: "int8" | "float", from: string = name): ValueId {
    const { type } = this.tensors.take(from, [n, k]);
    const dtype = type === "BF16" ? "bfloat16" : "float16";
    return this.builder.weight(name, { parts: [{ tensor: from }], shape: [n, k], form, dtype });
  }

  /** y = x w^T (+ bias), from k to n features. */
  linear(x: ValueId, path: string, n: number, k: number, bias: boolean): ValueId {
    const { weights, threshold, scheme } = this.options;
    const weight = this.weight(`${path}.weight`, n, k, weights === "int8" ? "int8" : "float");
    const vector = bias ? this.vector(`${path}.bias`, n) : undefined;
    return this.builder.linear(x, weight, { threshold, scheme, bias: vector, label: path });
  }

  norm(x: ValueId, path: string, n: number, attributes: AttributesOf<"norm">): ValueId {
    return this.builder.norm(x, this.vector(`${path}.weight`, n), { ...attributes, label: path });
  }

  /** Counts outliers of what the linears under `path` take, if that is asked for. */
  observe(x: ValueId, path: string, k: number): void {
    const { observe } = this.options;
    if (observe === undefined) return;
    const counts = this.builder.state(`${path}.outliers`, "io", "int32", [k]);
    const largest = this.builder.state(`${path}.largest`, "io", "float32", [k]);
    this.builder.call("observe_outliers", { x, counts, largest }, { threshold: observe });
  }
}

/** What each step brings for the model itself; `sample` and `score` ask for more. */
export function stepValues({ builder, options }: ModelWriter) {
  const int32 = (name: string, ...shape: Parameters<ProgramBuilder["input"]>[2]) => builder.input(name, "int32", shape);
  return {
    tokens: int32("tokens", "T"),
    positions: int32("positions", "T"),
    slots: int32("slots", "T"),
    pages: int32("pages", "B", "J"),
    lengths: int32("lengths", "B"),
    starts: int32("starts", "B+1"),
    // Scored rows are fixed in number, because the reference logits are a tensor of fixed size.
    rows: int32("rows", options.output.type === "score" ? options.rows : "S"),
  };
}
export type StepValues = ReturnType<typeof stepValues>;

/** Tables of the angles, for all positions of the context. */
export function ropeAngles(
  { builder, options }: ModelWriter,
  { headDim, theta, scaling }: { readonly headDim: number; readonly theta: number; readonly scaling: RopeScaling },
) {
  const tables = ropeTables(options.context, headDim, theta, scaling);
  const shape = [options.context, headDim / 2];
  return { cos: builder.constant("rope.cos", tables.cos, shape), sin: builder.constant("rope.sin", tables.sin, shape) };
}

export interface AttentionShape {
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Keys a query sees, itself included; 0 is all. */
  readonly window: number;
  readonly pairing: "half" | "interleaved";
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
}

/** Rotary grouped-query attention of layer `layer` over its KV pages, output projection included. */
export function attention(
  m: ModelWriter,
  x: ValueId,
  path: string,
  layer: number,
  shape: AttentionShape,
  step: StepValues,
  angles: ReturnType<typeof ropeAngles>,
): ValueId {
  const { builder: b } = m;
  const { hidden, heads, kvHeads, headDim, window, pairing } = shape;
  m.observe(x, `${path}.qkv_proj`, hidden);
  const project = (name: string, count: number) =>
    m.linear(x, `${path}.${name}_proj`, count * headDim, hidden, shape.qkvBias);
  const q = project("q", heads);
  const k = project("k", kvHeads);
  const v = project("v", kvHeads);
  const rope = { positions: step.positions, ...angles };
  const turned = b.rope(q, rope, { headDim, pairing }, `${path}.rope_q`);
  const turnedK = b.rope(k, rope, { headDim, pairing }, `${path}.rope_k`);
  const cache = kvPages(m, layer, kvHeads, headDim);
  b.append({ k: turnedK, v, slots: step.slots, ...cache }, { kvHeads, headDim }, `${path}.append`);
  const { pages, lengths, starts } = step;
  const mixed = b.attention(
    { q: turned, ...cache, pages, lengths, starts },
    { heads, kvHeads, headDim, scale: 1 / Math.sqrt(headDim), window },
    path,
  );
  m.observe(mixed, `${path}.o_proj`, heads * headDim);
  return m.linear(mixed, `${path}.o_proj`, hidden, heads * headDim, shape.outputBias);
}

/** The KV pages of a layer: integers, and the steps that they count in. */
function kvPages({ builder, options }: ModelWriter, layer: number, kvHeads: number, headDim: number) {
  const state = (name: string, dtype: DType, size: number) =>
    builder.state(`layers.${layer}.${name}`, "kv", dtype, [options.pages, kvHeads, size]);
  return {
    keys: state("keys", options.kv, PAGE_SIZE * headDim),
    values: state("values", options.kv, PAGE_SIZE * headDim),
    steps: state("steps", "float32", 2 * PAGE_SIZE),
  };
}

export interface GatedMlpShape {
  readonly hidden: number;
  readonly intermediate: number;
  readonly activation: NonNullable<AttributesOf<"glu">["activation"]>;
  readonly mlpBias: boolean;
}

/** down(activation(gate(x)) * up(x)) */
export function gatedMlp(m: ModelWriter, x: ValueId, path: string, shape: GatedMlpShape): ValueId {
  const { hidden, intermediate, activation, mlpBias } = shape;
  m.observe(x, `${path}.gate_up_proj`, hidden);
  const gate = m.linear(x, `${path}.gate_proj`, intermediate, hidden, mlpBias);
  const up = m.linear(x, `${path}.up_proj`, intermediate, hidden, mlpBias);
  const gated = m.builder.glu(gate, up, { activation }, `${path}.glu`);
  m.observe(gated, `${path}.down_proj`, intermediate);
  return m.linear(gated, `${path}.down_proj`, hidden, intermediate, mlpBias);
}
