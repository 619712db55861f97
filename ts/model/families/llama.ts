/** Llama, Mistral, Qwen2, SmolLM: one family, told apart by attributes (bias, window, tied embeddings, rope). */
import { OctavoError } from "../../errors.ts";
import { ProgramBuilder } from "../../program/builder.ts";
import type { Program, ValueId } from "../../program/program.ts";
import type { Scheme } from "../../program/scheme.ts";
import type { Threshold } from "../../program/threshold.ts";
import type { Manifest } from "../source/manifest.ts";
import { type LlamaConfig, llamaConfig } from "./config.ts";
import { ropeTables } from "./rope.ts";

export interface ModelOptions {
  readonly weights: "int8" | "16bit";
  readonly head: "16bit" | "int8";
  readonly threshold: Threshold;
  /** Linears (with `head: "int8"` the output layer too) quantise their 16-bit weights at each step; `weights` is "16bit". */
  readonly scheme?: Scheme | undefined;
  /** Count the inputs of linears that are at least this large, for `inspect`: in states `<linears>.outliers` and `.largest`. */
  readonly observe?: number | undefined;
  /** Rows of the rope tables: positions a sequence may reach. */
  readonly context: number;
  /** KV pages. */
  readonly pages: number;
  /** Size of `sampled`; for `score`, the fixed number of rows that a step judges. */
  readonly rows: number;
  readonly kv: "float16" | "bfloat16";
  readonly output:
    | { readonly type: "sample"; readonly logits?: boolean }
    | { readonly type: "logits" }
    | { readonly type: "score"; readonly reference?: "write" | "read" };
}

/** The forward pass. Throws `OCTAVO_MODEL_INCOMPLETE` or `OCTAVO_MODEL_FILE_INVALID` for tensors missing or misshapen. */
export function buildLlama(architecture: string, manifest: Manifest, options: ModelOptions): Program {
  const config = llamaConfig(architecture, manifest.config);
  const { layers, hidden, intermediate, heads, kvHeads, headDim, vocabulary, eps } = config;
  const b = new ProgramBuilder();

  const tensor = (name: string, ...shape: number[]): string => {
    const entry = manifest.tensors.get(name);
    if (!entry) throw new OctavoError("OCTAVO_MODEL_INCOMPLETE", `${manifest.path}: the tensor ${name} is missing`);
    if (entry.shape.join() !== shape.join())
      throw new OctavoError(
        "OCTAVO_MODEL_FILE_INVALID",
        `${manifest.path}: ${name} has the shape [${entry.shape.join(", ")}]; the config says [${shape.join(", ")}]`,
      );
    return name;
  };
  const sixteenBit = (name: string) => (manifest.tensors.get(name)?.type === "BF16" ? "bfloat16" : "float16");
  const vector = (name: string, n: number) => b.vector(tensor(name, n), n);
  const linear = (x: ValueId, path: string, n: number, k: number, bias: boolean): ValueId => {
    const name = tensor(`${path}.weight`, n, k);
    const form = options.weights === "int8" ? "int8" : "float";
    const weight = b.weight(name, { tensors: [name], shape: [n, k], form, dtype: sixteenBit(name) });
    return b.linear(x, weight, {
      threshold: options.threshold,
      scheme: options.scheme,
      bias: bias ? vector(`${path}.bias`, n) : undefined,
      label: path,
    });
  };

  const observe = (x: ValueId, path: string, k: number): void => {
    if (options.observe === undefined) return;
    const counts = b.state(`${path}.outliers`, "io", "int32", [k]);
    const largest = b.state(`${path}.largest`, "io", "float32", [k]);
    b.call("observe_outliers", { x, counts, largest }, { threshold: options.observe });
  };

  const { output } = options;
  const tokens = b.input("tokens", "int32", ["T"]);
  const positions = b.input("positions", "int32", ["T"]);
  const slots = b.input("slots", "int32", ["T"]);
  const pages = b.input("pages", "int32", ["B", "J"]);
  const lengths = b.input("lengths", "int32", ["B"]);
  const starts = b.input("starts", "int32", ["B+1"]);
  // Scored rows are fixed in number, because the reference logits are a tensor of fixed size.
  const rows = b.input("rows", "int32", [output.type === "score" ? options.rows : "S"]);

  const tables = ropeTables(options.context, headDim, config.theta, config.scaling);
  const tableShape = [options.context, headDim / 2];
  const rope = {
    positions,
    cos: b.constant("rope.cos", tables.cos, tableShape),
    sin: b.constant("rope.sin", tables.sin, tableShape),
  };
  const embeddings = tensor("model.embed_tokens.weight", vocabulary, hidden);
  const embeddingDtype = sixteenBit(embeddings);
  const table = b.weight(embeddings, {
    tensors: [embeddings],
    shape: [vocabulary, hidden],
    form: "float",
    dtype: embeddingDtype,
  });
  const sampled = output.type === "sample" ? b.state("sampled", "io", "int32", [options.rows]) : undefined;

  let x = b.embed(tokens, table, { sampled, label: "embed" });
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    const attention = `${layer}.self_attn`;
    const h = b.norm(x, vector(`${layer}.input_layernorm.weight`, hidden), { eps, label: `${layer}.input_layernorm` });
    observe(h, `${attention}.qkv_proj`, hidden);
    const q = linear(h, `${attention}.q_proj`, heads * headDim, hidden, config.qkvBias);
    const k = linear(h, `${attention}.k_proj`, kvHeads * headDim, hidden, config.qkvBias);
    const v = linear(h, `${attention}.v_proj`, kvHeads * headDim, hidden, config.qkvBias);
    const turned = b.rope(q, rope, { headDim, pairing: config.pairing }, `${attention}.rope_q`);
    const turnedK = b.rope(k, rope, { headDim, pairing: config.pairing }, `${attention}.rope_k`);
    const keys = b.state(`layers.${i}.keys`, "kv", options.kv, [options.pages, kvHeads, headDim, 16]);
    const values = b.state(`layers.${i}.values`, "kv", options.kv, [options.pages, kvHeads, 16, headDim]);
    b.append({ k: turnedK, v, slots, keys, values }, { kvHeads, headDim }, `${attention}.append`);
    const mixed = b.attention(
      { q: turned, keys, values, pages, lengths, starts },
      { heads, kvHeads, headDim, scale: 1 / Math.sqrt(headDim), window: config.window },
      attention,
    );
    observe(mixed, `${attention}.o_proj`, heads * headDim);
    const attended = linear(mixed, `${attention}.o_proj`, hidden, heads * headDim, config.outputBias);
    x = b.add(x, attended, `${attention}.residual`);
    const postNorm = `${layer}.post_attention_layernorm`;
    const m = b.norm(x, vector(`${postNorm}.weight`, hidden), { eps, label: postNorm });
    observe(m, `${layer}.mlp.gate_up_proj`, hidden);
    const gate = linear(m, `${layer}.mlp.gate_proj`, intermediate, hidden, config.mlpBias);
    const up = linear(m, `${layer}.mlp.up_proj`, intermediate, hidden, config.mlpBias);
    const gated = b.glu(gate, up, { activation: config.activation }, `${layer}.mlp.glu`);
    observe(gated, `${layer}.mlp.down_proj`, intermediate);
    const mapped = linear(gated, `${layer}.mlp.down_proj`, hidden, intermediate, config.mlpBias);
    x = b.add(x, mapped, `${layer}.mlp.residual`);
  }
  const last = b.norm(b.rows(x, rows), vector("model.norm.weight", hidden), { eps, label: "norm" });

  // A head that the files hold is the model's, whatever the config says of tied embeddings: as transformers 5 takes it.
  const tied = config.tiedEmbeddings && !manifest.tensors.has("lm_head.weight");
  const headName = tied ? embeddings : tensor("lm_head.weight", vocabulary, hidden);
  const headWeight =
    tied && options.head === "16bit"
      ? table
      : b.weight("lm_head.weight", {
          tensors: [headName],
          shape: [vocabulary, hidden],
          form: options.head === "int8" && options.scheme === undefined ? "int8" : "float",
          dtype: sixteenBit(headName),
        });
  const reference =
    output.type === "score" && output.reference
      ? b.state("reference", "io", "float32", [options.rows, vocabulary])
      : undefined;
  const logits = b.linear(last, headWeight, {
    threshold: options.threshold,
    scheme: options.head === "int8" ? options.scheme : undefined,
    label: "logits",
    ...(output.type === "score" && output.reference === "write" && reference !== undefined ? { into: reference } : {}),
  });
  finish(b, config, output, logits, sampled, reference, options.rows);
  return b.build();
}

function finish(
  b: ProgramBuilder,
  config: LlamaConfig,
  output: ModelOptions["output"],
  logits: ValueId,
  sampled: ValueId | undefined,
  reference: ValueId | undefined,
  rows: number,
): void {
  if (output.type === "score") {
    const targets = b.input("targets", "int32", [rows]);
    const judged = b.call("score", { logits, targets, reference: output.reference === "read" ? reference : undefined });
    for (const name of ["nll", "kl", "top1"] as const) b.output(name, judged[name]);
    return;
  }
  if (output.type === "sample" && sampled !== undefined) {
    const maskWords = Math.ceil(config.vocabulary / 32);
    const drawn = b.call(
      "sample",
      {
        logits,
        settings: b.input("settings", "float32", ["S", 6]),
        counters: b.input("counters", "int32", ["S", 7]),
        historyStarts: b.input("historyStarts", "int32", ["S+1"]),
        history: b.input("history", "int32", ["H"]),
        biasStarts: b.input("biasStarts", "int32", ["S+1"]),
        biasIds: b.input("biasIds", "int32", ["D"]),
        biasValues: b.input("biasValues", "float32", ["D"]),
        masks: b.input("masks", "int32", ["Q", maskWords]),
        sampled,
      },
      { maskWords },
    );
    for (const name of ["ids", "logprob", "topIds", "topLogprobs"] as const) b.output(name, drawn[name]);
  }
  if (output.type === "logits" || output.logits) b.output("logits", logits);
}
